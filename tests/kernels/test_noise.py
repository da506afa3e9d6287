"""Noise from seeds: the published words of SplitMix64, what Box and Muller make of them, and that it is normal."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from avctl.kernels import noise as module
from avctl.kernels.dispatch import tl
from avctl.kernels.noise import noise_reference, words

SEEDS = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 0x0123456789ABCDEF])


def _noise(seed_ptr, out_ptr, first, N: tl.constexpr):
    tl.store(out_ptr + tl.arange(0, N), module.noise(tl.load(seed_ptr), first, N))


def test_words_are_those_of_splitmix64() -> None:
    """As other implementations test themselves by: rosettacode.org, Pseudo-random numbers/Splitmix64."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [int(word) % 2**64 for word in words(torch.tensor([1234567]), 4)[0]] == published


def test_a_word_makes_two_numbers() -> None:
    made = noise_reference(SEEDS, torch.Size([10]), torch.float64)
    for row, of_seed in zip(made, words(SEEDS, 5), strict=True):
        for first, second, word in zip(row[::2], row[1::2], of_seed, strict=True):
            high, low = divmod(int(word) % 2**64, 2**32)
            number = cmath.rect(math.sqrt(-2 * math.log(max(low, 0.5) / 2**32)), math.tau * high / 2**32)
            assert (float(first), float(second)) == pytest.approx((number.real, number.imag), rel=1e-9)


def test_the_rarest_words_have_numbers(interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A low half of nothing but zeros has no logarithm; high halves at the edges of an eighth turn."""
    low = torch.tensor([0, 1, 2**32 - 1, 2**32 - 1, 5, 5, 5, 5])
    high = torch.tensor([0, 2**31, 2**31 - 1, 2**32 - 1, 2**29 - 1, 2**29, 3 * 2**29, 3 * 2**29 - 1])
    monkeypatch.setattr(module, "words", lambda seeds, count: ((high << 32) | low)[None])
    expected = noise_reference(SEEDS[:1], torch.Size([16]), torch.float64)[0]
    assert expected.isfinite().all() and expected[0] > 6.7

    def normals(low_ptr, high_ptr, out_ptr, N: tl.constexpr):
        at = tl.arange(0, N)
        pair = module._normals(tl.load(low_ptr + at).to(tl.uint32), tl.load(high_ptr + at).to(tl.uint32))
        tl.store(out_ptr + tl.arange(0, 2 * N), tl.interleave(*pair))

    made = torch.empty(16)
    InterpretedFunction(normals)[(1,)](low, high, made, N=8)
    assert torch.allclose(made.double(), expected, atol=3e-5)
    assert torch.allclose(noise_reference(SEEDS[:1], torch.Size([16]))[0].double(), expected, atol=3e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_kernels_make_it_in_any_part(seed: Tensor, interpreted: None) -> None:
    part, expected = torch.empty(64), noise_reference(seed[None], torch.Size([1024]))[0]
    InterpretedFunction(_noise)[(1,)](seed, part, 512, N=64)
    assert torch.allclose(part, expected[512:576], atol=1e-5)


def test_the_noise_of_a_clip_depends_on_its_seed_and_nothing_else() -> None:
    whole = noise_reference(SEEDS, torch.Size([7, 3, 5]))
    assert whole.shape == (6, 7, 3, 5)
    assert torch.equal(noise_reference(SEEDS[3:4], torch.Size([105]))[0], whole[3].flatten())
    assert torch.equal(noise_reference(SEEDS[[3, 0]], torch.Size([50])), whole[[3, 0]].flatten(1)[:, :50])


def test_it_is_normal_and_neither_numbers_nor_clips_go_together() -> None:
    noise = noise_reference(torch.arange(8), torch.Size([100_000])).double()
    moments = [(noise**power).mean(1) for power in (1, 2, 3, 4)]
    for moment, expected, error in zip(moments, (0, 1, 0, 3), (1, 2, 15, 96), strict=True):
        assert ((moment - expected).abs() < 4.5 * (error / 100_000) ** 0.5).all()
    rows = torch.cat([noise.flatten()[lag : lag + 700_000][None] for lag in range(5)])
    for together in (torch.corrcoef(noise), torch.corrcoef(rows)):
        assert (together - torch.eye(len(together))).abs().max() < 0.015


def test_no_noise_has_a_shape() -> None:
    assert noise_reference(SEEDS[:0], torch.Size([3, 4])).shape == (0, 3, 4)
    assert noise_reference(SEEDS, torch.Size([0, 4])).shape == (6, 0, 4)
