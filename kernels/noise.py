"""Noise that is never stored: every number of it is a function of a seed and of its own index.

SplitMix64 (Steele, Lea and Flood 2014) is a hash of the seed and a counter; Box and Muller (1958) turn its 64 bits into
two normal numbers. Numbers 2i and 2i + 1 of a seed, whose word is w, with >> that fill with zeros, modulo 2^64:

    z = seed + (i + 1) STEP;  z = (z ^ (z >> 30)) FIRST;  z = (z ^ (z >> 27)) SECOND;  w = z ^ (z >> 31)
    r = sqrt(-2 log(max(low, 1/2) / 2^32)), low 32 bits as unsigned;  a = pi high / 2^31, high ones as signed
    r cos(a),  r sin(a)

Philox, which PyTorch and Triton have, takes four times the operations for as many bits: with it the tiny recipe spent
more of a step on noise than on attention. Reference and kernel are equal up to the rounding of float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avctl.kernels.dispatch import tl, triton

STEP = 0x9E3779B97F4A7C15  # the golden ratio, less 1, as 64 bits behind the point
FIRST = 0xBF58476D1CE4E5B9
SECOND = 0x94D049BB133111EB


def words(seeds: Tensor, count: int) -> Tensor:
    """Seeds (B,) int64 -> the first `count` words of each, (B, count) int64 of which all 64 bits count."""
    counter = torch.arange(1, count + 1, device=seeds.device)
    word = seeds[:, None] + counter * _signed(STEP)
    word = _xor_shifted(word, 30) * _signed(FIRST)
    word = _xor_shifted(word, 27) * _signed(SECOND)
    return _xor_shifted(word, 31)


def _signed(bits: int) -> int:
    return bits - (bits >> 63 << 64)


def _xor_shifted(word: Tensor, places: int) -> Tensor:
    return (word >> places).bitwise_and_((1 << 64 - places) - 1).bitwise_xor_(word)


def noise_reference(seeds: Tensor, shape: torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
    """Seeds (B,) int64, one a clip -> (B, *shape) in `dtype`: the noise of a clip, whatever batch it is in."""
    count = shape.numel()
    made = words(seeds, -(-count // 2))
    radius = (made & 0xFFFFFFFF).to(dtype).clamp_(min=0.5).mul_(2**-32).log_().mul_(-2).sqrt_()
    angle = (made >> 32).to(dtype).mul_(math.pi / 2**31)
    noise = torch.empty(*made.shape, 2, dtype=dtype, device=seeds.device)
    torch.mul(radius, angle.cos(), out=noise[..., 0])
    torch.mul(radius, angle.sin(), out=noise[..., 1])
    return noise.flatten(1)[:, :count].reshape(len(seeds), *shape)


@triton.jit
def noise(seed, first, BLOCK: tl.constexpr):
    """Numbers `first` to `first` + BLOCK of a seed, (BLOCK,) float32; both are even."""
    counter = (first // 2 + 1 + tl.arange(0, BLOCK // 2)).to(tl.uint64)
    word = seed.to(tl.uint64, bitcast=True) + counter * 0x9E3779B97F4A7C15
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB
    word = word ^ (word >> 31)
    return tl.interleave(*_normals(word.to(tl.uint32), (word >> 32).to(tl.uint32)))


@triton.jit
def _normals(low, high):
    """Halves of a word -> two numbers. The angle is brought within an eighth of a turn while it is an integer, where
    Taylor's series are short; `tl.cos` would bring the code for huge angles, and its stack, every time."""
    uniform = tl.maximum(low.to(tl.float32), 0.5) * 2.3283064365386963e-10  # 2^-32
    radius = tl.sqrt(-2.0 * tl.log(uniform))
    turn = high.to(tl.int32, bitcast=True)  # 2^32 are a whole one
    quarter = ((turn >> 29) + 1) >> 1  # the nearest: -2 to 2
    angle = ((turn << 2) >> 2).to(tl.float32) * 1.4629180792671596e-09  # pi / 2^31, of what is beyond it
    square = angle * angle
    cos = 1 + square * (-1 / 2 + square * (1 / 24 + square * (-1 / 720 + square * (1 / 40320))))
    sin = angle * (1 + square * (-1 / 6 + square * (1 / 120 + square * (-1 / 5040 + square * (1 / 362880)))))
    is_odd = (quarter & 1) == 1
    x, y = radius * tl.where(is_odd, sin, cos), radius * tl.where(is_odd, cos, sin)
    return tl.where(((quarter + 1) & 2) == 2, -x, x), tl.where((quarter & 2) == 2, -y, y)
