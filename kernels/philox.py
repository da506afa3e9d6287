"""Noise that is never stored: every number of it is a function of a seed and of its own index.

Philox4x32-10 (Salmon et al. 2011) turns a counter and a key into four 32-bit words w0 ... w3, Box and Muller (1958) two
words into two normal numbers. Numbers 4i to 4i + 3 come from counter i, with the seed, 64 bits, as the key:

    u(w) = |w| / 2^31, w read as signed;  r(u) = sqrt(-2 log u)
    r(u(w0)) cos(2 pi u(w1)),  r(u(w0)) sin(2 pi u(w1)),  r(u(w2)) cos(2 pi u(w3)),  r(u(w2)) sin(2 pi u(w3))

Reference and kernel are equal up to the rounding of float32 to each other, and to `tl.randn4x`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from avctl.kernels.dispatch import tl, triton

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57  # of words 0 and 2
KEY_STEPS = 0x9E3779B9, 0xBB67AE85  # the golden ratio and the square root of 3, less 1, as 32 bits behind the point
WORD = 0xFFFFFFFF
SMALLEST = 1e-7  # in the place of 0, which has no logarithm

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: tuple[Tensor, Tensor]) -> Words:
    """Words of the counter, of one shape, and of the key, of one shape, int64 and broadcast -> int64, of which the low
    32 bits count.

    A product of two words wraps around: its 64 bits are right all the same, and its sign is masked away.
    """
    (word0, word1, word2, word3), (key0, key1) = counter, key
    for _ in range(ROUNDS):
        product0, product2 = MULTIPLIERS[0] * word0, MULTIPLIERS[1] * word2
        word0 = (word1 ^ key0).bitwise_xor_(product2 >> 32).bitwise_and_(WORD)
        word2 = (word3 ^ key1).bitwise_xor_(product0 >> 32).bitwise_and_(WORD)
        word1, word3 = product2, product0
        key0, key1 = key0 + KEY_STEPS[0], key1 + KEY_STEPS[1]
    return word0, word1, word2, word3


def noise_reference(seeds: Tensor, shape: torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
    """Seeds (B,) int64, one a clip -> (B, *shape) in `dtype`: the noise of a clip, whatever batch it is in."""
    count = shape.numel()
    counter, key = torch.arange(-(-count // 4), device=seeds.device), seeds[:, None]
    zero = torch.zeros_like(counter)
    words = philox((counter & WORD, counter >> 32, zero, zero), (key, key >> 32))
    pairs = *_box_muller(*words[:2], dtype), *_box_muller(*words[2:], dtype)
    noise = torch.stack(pairs).movedim(0, -1)  # B counters 4; on a CPU three times as fast as `torch.stack(pairs, -1)`
    return noise.flatten(1)[:, :count].reshape(len(seeds), *shape)


def _box_muller(first: Tensor, second: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    radius = _uniform(first, dtype).clamp_(min=SMALLEST).log_().mul_(-2).sqrt_()
    angle = _uniform(second, dtype).mul_(math.tau)
    return radius * angle.cos(), radius * angle.sin()


def _uniform(words: Tensor, dtype: torch.dtype) -> Tensor:
    """Words, of which 32 bits count -> numbers in [0, 1]."""
    signed = words.int()
    return (signed ^ (signed >> 31)).to(dtype).mul_(2**-31)  # a negative w as -w - 1


@triton.jit
def noise(seed, first, BLOCK: tl.constexpr):
    """Numbers `first` to `first` + BLOCK of a seed, (BLOCK,) float32; both are multiples of 4."""
    word0, word1, word2, word3 = tl.randint4x(seed, first // 4 + tl.arange(0, BLOCK // 4))
    a, b = _normals(word0, word1)
    c, d = _normals(word2, word3)
    return tl.interleave(tl.interleave(a, c), tl.interleave(b, d))


@triton.jit
def _normals(first, second):
    """Two words -> two numbers. The angle is brought within an eighth of a turn while it is an integer, where Taylor's
    series are short; `tl.cos` would bring the code for huge angles, and its stack, every time."""
    uniform = _magnitude(first).to(tl.float32) * 4.656612873077393e-10  # 2^-31
    radius = tl.sqrt(-2.0 * tl.log(tl.maximum(uniform, 1e-7)))
    turn = _magnitude(second)  # 2^31 are a whole one
    eighth = turn >> 28
    quarter = (eighth + 1) >> 1
    angle = ((turn & 0x1FFFFFFF) - ((eighth & 1) << 29)).to(tl.float32) * 2.9258361585343192e-09  # 2 pi / 2^31
    square = angle * angle
    cos = 1 + square * (-1 / 2 + square * (1 / 24 + square * (-1 / 720 + square * (1 / 40320))))
    sin = angle * (1 + square * (-1 / 6 + square * (1 / 120 + square * (-1 / 5040 + square * (1 / 362880)))))
    is_odd = (quarter & 1) == 1
    x, y = radius * tl.where(is_odd, sin, cos), radius * tl.where(is_odd, cos, sin)
    return tl.where(((quarter + 1) & 2) == 2, -x, x), tl.where((quarter & 2) == 2, -y, y)


@triton.jit
def _magnitude(word):
    signed = word.to(tl.int32, bitcast=True)
    return signed ^ (signed >> 31)
