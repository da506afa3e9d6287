"""The objective of a frame autoencoder: squared and absolute error of single frames, with noise on the latents."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss, relu

from avctl.codecs.convert import from_pixels
from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.compute.precision import autocast
from avctl.compute.seed import seeded
from avctl.data.order import Order
from avctl.schema import Recipe, TrainAutoencoder
from avctl.store.reader import ClipRow, ClipStore

FRAMES_PER_CLIP = 8  # of a batch: neighbours differ little, and a clip is read whole
PCA_CLIPS = 128
LATENT_BOUND, BOUND_WEIGHT = 3.0, 1e-2  # latents beyond it are pulled back


class Batch(NamedTuple):
    frames: Tensor  # B 3 H W, in [-1, 1]
    noise: Tensor  # B C h w, on the latents


class AutoencoderObjective:
    """Random frames of random clips."""

    def __init__(
        self, model: FrameAutoencoderCodec, recipe: Recipe, store: ClipStore, rows: list[ClipRow], device: torch.device
    ):
        assert isinstance(recipe.train, TrainAutoencoder)
        self.model, self.spec, self.seed, self.device = model, recipe.train, recipe.seed, device
        self.store, self.rows = store, rows
        self.per_clip = min(FRAMES_PER_CLIP, recipe.clip.frames)
        self.order = Order(len(rows), ceil(recipe.train.batch / self.per_clip), recipe.seed)

    def start(self) -> None:
        """Set the linear skip from a sample of clips."""
        clips = [self.rows[i] for i in Order(len(self.rows), min(PCA_CLIPS, len(self.rows)), self.seed)(0)]
        self.model.start_from_pca(self._frames(clips, seeded(self.seed, "pca")))

    def batch(self, step: int) -> Batch:
        generator = seeded(self.seed, "train", step)
        frames = self._frames([self.rows[i] for i in self.order(step)], generator)[: self.spec.batch]
        _, *cells = self.model.latent_shape(1, (frames.shape[2], frames.shape[3]))
        return Batch(frames, torch.randn(len(frames), *cells, generator=generator))

    def split(self, batch: Batch, count: int) -> list[tuple[Batch, float]]:
        parts = zip(batch.frames.chunk(count), batch.noise.chunk(count), strict=True)
        return [(Batch(frames, noise), len(frames) / len(batch.frames)) for frames, noise in parts]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        frames, noise = batch.frames.to(self.device), batch.noise.to(self.device)
        with autocast(self.spec.dtype, self.device):
            latents = self.model.encode_frames(frames).float()
            rebuilt = self.model.decode_frames(latents + self.spec.latent_noise * noise).float()
        squared = mse_loss(rebuilt, frames)
        outside = relu(latents.abs() - LATENT_BOUND).square().mean()
        total = squared + self.spec.l1 * l1_loss(rebuilt, frames) + BOUND_WEIGHT * outside
        return total, {"psnr": psnr(squared.detach())}

    def _frames(self, rows: list[ClipRow], generator: torch.Generator) -> Tensor:
        """A few frames of each clip as (B, 3, H, W) in [-1, 1]."""
        picked = []
        for row in rows:
            frames = self.store.frames(row)
            picked.append(frames[torch.randperm(len(frames), generator=generator)[: self.per_clip].numpy()])
        return from_pixels(torch.from_numpy(np.concatenate(picked)))


def psnr(squared_error: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, of a mean squared error in a range of [-1, 1]."""
    return 10 * torch.log10(4 / squared_error.clamp(min=1e-10))
