"""Noise from seeds: the published numbers of Philox, those of Triton, and normal ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from avctl.kernels import philox as module
from avctl.kernels.dispatch import tl
from avctl.kernels.philox import WORD, noise_reference, philox

SEEDS = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 0x0123456789ABCDEF])


def _randn4x(seed_ptr, out_ptr, N: tl.constexpr):
    """The four numbers of counters 0 to N: all of the first, then all of the second ..."""
    counter = tl.arange(0, N)
    a, b, c, d = tl.randn4x(tl.load(seed_ptr), counter)  # pyright: ignore[reportGeneralTypeIssues]
    tl.store(out_ptr + counter, a)
    tl.store(out_ptr + N + counter, b)
    tl.store(out_ptr + 2 * N + counter, c)
    tl.store(out_ptr + 3 * N + counter, d)


def _noise(seed_ptr, out_ptr, first, N: tl.constexpr):
    tl.store(out_ptr + tl.arange(0, N), module.noise(tl.load(seed_ptr), first, N))


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_words_are_those_that_random123_publishes(counter: str, key: str, words: str) -> None:
    def read(text: str) -> list[Tensor]:
        return [torch.tensor([int(word, 16)]) for word in text.split()]

    made = philox(tuple(read(counter)), tuple(read(key)))  # pyright: ignore[reportArgumentType]
    assert [int(word) & WORD for word in made] == [int(word) for word in read(words)]


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_the_noise_of_triton_in_any_part(seed: Tensor, interpreted: None) -> None:
    whole, part, expected = torch.empty(4, 256), torch.empty(64), noise_reference(seed[None], torch.Size([1024]))[0]
    InterpretedFunction(_randn4x)[(1,)](seed, whole, N=256)
    InterpretedFunction(_noise)[(1,)](seed, part, 512, N=64)
    assert torch.allclose(whole.T.flatten(), expected, atol=1e-5)
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
