"""The wavelet loses nothing, in the order and the range that its docstring says."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from avctl.codecs.haar import HaarCodec, haar_basis
from avctl.schema import Haar


@pytest.mark.parametrize("down", [1, 2, 8])
@pytest.mark.parametrize("time", [1, 2, 4])
def test_frames_come_back_exactly(down: Literal[1, 2, 8], time: Literal[1, 2, 4]) -> None:
    codec = HaarCodec(Haar(down=down, time=time))
    frames = torch.rand(2, 4, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = codec.encode(frames)
    assert (
        latents.shape
        == (2, *codec.latent_shape(4, (16, 24)))
        == (2, 4 // time, 3 * time * down**2, 16 // down, 24 // down)
    )
    assert torch.allclose(codec.decode(latents), frames, atol=1e-5)


def test_the_first_coefficients_are_the_mean_colour_of_a_cell() -> None:
    frames = torch.rand(1, 2, 3, 8, 16, generator=torch.Generator().manual_seed(1))
    latents = HaarCodec(Haar(down=8, time=2)).encode(frames)
    means = frames.unflatten(4, (2, 8)).mean((1, 3, 5))  # 1 3 2
    assert torch.allclose(latents[0, 0, :3, 0], means[0], atol=1e-6)


def test_a_cell_knows_nothing_of_its_neighbours() -> None:
    codec = HaarCodec(Haar(down=4, time=1))
    frames = torch.zeros(1, 2, 3, 8, 8)
    changed = frames.clone()
    changed[0, 1, :, 4:, :4] = 1
    moved = (codec.encode(changed) - codec.encode(frames)).abs().sum(2)[0]  # F h w
    assert moved.nonzero().tolist() == [[1, 1, 0]]


@pytest.mark.parametrize("n", [1, 2, 4, 16])
def test_the_basis_is_orthonormal(n: int) -> None:
    assert torch.allclose(haar_basis(n) @ haar_basis(n).T, torch.eye(n), atol=1e-6)


def test_energy_is_kept_up_to_one_factor() -> None:
    frames = torch.randn(1, 4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    latents = HaarCodec(Haar(down=8, time=4)).encode(frames)
    assert torch.allclose(latents.square().sum() * 8**2 * 4, frames.square().sum(), rtol=1e-5)


def test_latents_of_16_bits_cost_less_than_half_a_grey_level() -> None:
    codec = HaarCodec(Haar(down=8, time=2))
    frames = torch.rand(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1
    back = codec.decode(codec.encode(frames).half().float())
    assert (back - frames).abs().max() * 127.5 < 0.5
