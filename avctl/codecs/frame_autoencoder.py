"""A small convolutional autoencoder of single frames, with a linear skip that starts from PCA.

z = P u + e(x), x' = Q z + d(z), where u are the pixels of a cell, P and Q its principal components, and e, d start
at zero: training begins at the best linear code and can only improve on it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu

from avctl.codecs.codec import VideoCodec
from avctl.schema import FrameAutoencoder

STEM = 4  # pixels folded into channels before the first convolution


class FrameAutoencoderCodec(VideoCodec):
    def __init__(self, spec: FrameAutoencoder):
        super().__init__()
        self.down, self.time, self.channels = spec.down, 1, spec.channels
        pixels, width, halvings = 3 * spec.down**2, spec.width, (spec.down // STEM).bit_length() - 1
        self.project = nn.Conv2d(pixels, spec.channels, 1)
        self.expand = nn.Conv2d(spec.channels, pixels, 1)
        shrink = [
            layer for _ in range(halvings) for layer in (Residual(width), nn.Conv2d(width, width, 3, 2, 1), nn.SiLU())
        ]
        grow = [
            layer
            for _ in range(halvings)
            for layer in (nn.Conv2d(width, 4 * width, 1), nn.PixelShuffle(2), nn.SiLU(), Residual(width))
        ]
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(STEM), nn.Conv2d(3 * STEM**2, width, 3, padding=1), nn.SiLU(),
            *shrink, Residual(width), nn.Conv2d(width, spec.channels, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv2d(spec.channels, width, 3, padding=1), nn.SiLU(), Residual(width),
            *grow, Residual(width), nn.Conv2d(width, 3 * STEM**2, 1), nn.PixelShuffle(STEM),
        )  # fmt: skip
        for parameter in (*self.encoder[-1].parameters(), *self.decoder[-2].parameters()):
            nn.init.zeros_(parameter)

    def encode(self, frames: Tensor) -> Tensor:
        latents = self.encode_frames(frames.flatten(0, 1))
        return latents.unflatten(0, frames.shape[:2])

    def decode(self, latents: Tensor) -> Tensor:
        frames = self.decode_frames(latents.flatten(0, 1))
        return frames.unflatten(0, latents.shape[:2])

    def encode_frames(self, frames: Tensor) -> Tensor:
        """frames (B, 3, H, W) -> latents (B, C, h, w)."""
        frames = frames.contiguous(memory_format=torch.channels_last)
        return self.project(pixel_unshuffle(frames, self.down)) + self.encoder(frames)

    def decode_frames(self, latents: Tensor) -> Tensor:
        """latents (B, C, h, w) -> frames (B, 3, H, W)."""
        latents = latents.contiguous(memory_format=torch.channels_last)
        return pixel_shuffle(self.expand(latents), self.down) + self.decoder(latents)

    @torch.no_grad()
    def start_from_pca(self, frames: Tensor) -> None:
        """Set P and Q from frames (B, 3, H, W); the spread of components is halved in the logarithm, to rms 1."""
        cells = pixel_unshuffle(frames, self.down).permute(0, 2, 3, 1).flatten(0, 2)  # cells, pixels
        mean = cells.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov((cells - mean).T))
        values, vectors = values[-self.channels :].clamp(min=1e-8), vectors[:, -self.channels :]
        vectors = torch.where(vectors.sum(0) < 0, -vectors, vectors)  # eigenvectors have no sign of their own
        spread = values**0.25
        spread = spread * (values / spread**2).mean().sqrt()
        project = (vectors / spread).T
        self.project.load_state_dict({"weight": project[:, :, None, None], "bias": -project @ mean})
        self.expand.load_state_dict({"weight": (vectors * spread)[:, :, None, None], "bias": mean})


class Residual(nn.Module):
    """x + 1x1(silu(3x3(x)))."""

    def __init__(self, width: int):
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(silu(self.spatial(x)))
