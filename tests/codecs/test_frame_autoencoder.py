"""Shapes of the learned codec, and the linear code that it starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.schema import FrameAutoencoder


def build(down: int = 8, channels: int = 6) -> FrameAutoencoderCodec:
    return FrameAutoencoderCodec(FrameAutoencoder(down=down, channels=channels, width=16)).eval()  # pyright: ignore[reportArgumentType]


def pictures(count: int = 40, size: int = 16) -> torch.Tensor:
    """Smooth random pictures (B, 3, H, W)."""
    coarse = torch.randn(count, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").clamp(-1, 1)


@pytest.mark.parametrize("down", [4, 8, 16])
def test_shapes_are_exact(down: int) -> None:
    codec = build(down)
    frames = torch.zeros(2, 3, 3, 32, 48)
    latents = codec.encode(frames)
    assert latents.shape == (2, *codec.latent_shape(3, (32, 48))) == (2, 3, 6, 32 // down, 48 // down)
    assert codec.decode(latents).shape == frames.shape


@torch.no_grad()
def test_the_start_is_the_best_linear_code() -> None:
    codec, frames = build(), pictures()
    codec.start_from_pca(frames)
    rebuilt = codec.decode_frames(codec.encode_frames(frames))
    cells = torch.nn.functional.pixel_unshuffle(frames, 8).permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
    centred = cells - cells.mean(0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    best = np.square(centred - (left[:, :6] * values[:6]) @ right[:6]).sum()
    assert float((rebuilt - frames).square().sum()) == pytest.approx(best, rel=1e-3)


@torch.no_grad()
def test_latents_start_with_zero_mean_and_unit_size() -> None:
    codec, frames = build(), pictures()
    codec.start_from_pca(frames)
    latents = codec.encode_frames(frames)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(6), atol=1e-4)
    assert float(latents.square().mean().sqrt()) == pytest.approx(1.0, rel=0.02)
    spread = latents.std((0, 2, 3))
    assert torch.equal(spread.argsort(), torch.arange(6))  # the strongest component comes last, and stays strongest


@torch.no_grad()
def test_a_component_whose_entries_cancel_is_kept() -> None:
    checks = torch.ones(3, 4, 4)
    checks[:, :, 2:] = -1  # the only thing that varies: its entries sum to zero
    frames = torch.linspace(-1, 1, 9)[:, None, None, None] * checks
    codec = build(4, 1)
    codec.start_from_pca(frames)
    assert torch.allclose(codec.decode_frames(codec.encode_frames(frames)), frames, atol=1e-3)


def test_the_convolutions_start_silent_but_learn() -> None:
    codec, frames = build(), pictures(4)
    codec.start_from_pca(frames)
    assert not codec.encoder(frames).any()
    latents = codec.encode_frames(frames)
    assert not codec.decoder(latents).any()
    (codec.decode_frames(latents) - frames).square().mean().backward()
    for layer in (codec.encoder[-1], codec.decoder[-2]):
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in layer.parameters())


@torch.no_grad()
def test_the_start_does_not_depend_on_the_sign_of_an_eigenvector() -> None:
    codec, frames = build(), pictures()
    codec.start_from_pca(frames)
    assert (codec.expand.weight[:, :, 0, 0].sum(0) > 0).all()


@torch.no_grad()
def test_latents_of_16_bits_are_close_to_exact() -> None:
    codec, frames = build(channels=48), pictures()
    codec.start_from_pca(frames)
    latents = codec.encode_frames(frames)
    difference = codec.decode_frames(latents.half().float()) - codec.decode_frames(latents)
    assert difference.abs().max() * 127.5 < 0.5  # grey levels
