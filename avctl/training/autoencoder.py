"""The objective of a frame autoencoder: squared and absolute error of single frames, with noise on the latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss, relu

from avctl.codecs.convert import from_pixels
from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.compute.precision import autocast
from avctl.compute.seed import seeded
from avctl.data.batches import Batches, sizes
from avctl.data.order import Order
from avctl.schema import FrameAutoencoder, Recipe, TrainAutoencoder
from avctl.store.reader import ClipRow, ClipStore

FRAMES_PER_CLIP = 8  # of a batch: neighbours differ little, and a clip is read whole
PCA_CLIPS = 128
LATENT_BOUND, BOUND_WEIGHT = 3.0, 1e-2  # latents beyond it are pulled back


class Batch(NamedTuple):
    frames: Tensor  # B 3 H W, in [-1, 1]
    noise: Tensor  # B C h w, on the latents


class Bucket(NamedTuple):
    """What clips of one batch have in common."""

    size: str  # the array of their pictures
    frames: int  # taken of each


@dataclass(frozen=True)
class Draw:
    """What a step learns from: a function of its number that needs no model, and can be sent to another process."""

    store: ClipStore
    rows: list[ClipRow]
    batches: Batches
    sizes: Mapping[Bucket, int]  # frames a batch, by bucket
    model: FrameAutoencoder
    seed: int

    def __call__(self, step: int) -> Batch:
        generator = seeded(self.seed, "train", step)
        rows = [self.rows[i] for i in self.batches(step)]
        frames = some_frames(self.store, rows, generator)[: self.sizes[_bucket(rows[0])]]
        cells = (side // self.model.down for side in frames.shape[2:])
        return Batch(frames, torch.randn(len(frames), self.model.channels, *cells, generator=generator))


class AutoencoderObjective:
    """Random frames of random clips. Those of a batch have one size, and no more pixels than `batch` frames of the
    recipe's own size have."""

    def __init__(
        self, model: FrameAutoencoderCodec, recipe: Recipe, store: ClipStore, rows: list[ClipRow], device: torch.device
    ):
        assert isinstance(recipe.train, TrainAutoencoder) and isinstance(recipe.model, FrameAutoencoder)
        self.model, self.spec, self.seed, self.device = model, recipe.train, recipe.seed, device
        self.store, self.rows = store, rows
        self.order = Order(len(rows), recipe.seed, [store.file_of(row.video) for row in rows if row.video])
        buckets = [_bucket(row) for row in rows]
        places = {bucket: row.video for bucket, row in zip(buckets, rows, strict=True)}
        pixels = {bucket: prod(store.shape(place)[1:3]) for bucket, place in places.items() if place}
        frames = sizes(pixels, recipe.train.batch * prod(recipe.clip.size))
        clips = {bucket: ceil(count / bucket.frames) for bucket, count in frames.items()}
        self.load = Draw(store, rows, Batches(self.order, buckets, clips), frames, recipe.model, recipe.seed)

    def start(self) -> None:
        """Set the linear skip from a sample of clips of one size."""
        clips = [self.rows[i] for i in self.order.epoch(0)]
        alike = [row for row in clips if _bucket(row).size == _bucket(clips[0]).size]
        self.model.start_from_pca(some_frames(self.store, alike[:PCA_CLIPS], seeded(self.seed, "pca")))

    def finish(self, loaded: Batch) -> Batch:
        return loaded

    def batch(self, step: int) -> Batch:
        return self.finish(self.load(step))

    def num_items(self, batch: Batch) -> int:
        return len(batch.frames)

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


def _bucket(row: ClipRow) -> Bucket:
    assert row.video
    return Bucket(row.video.name, min(FRAMES_PER_CLIP, row.video.length))


def some_frames(store: ClipStore, rows: list[ClipRow], generator: torch.Generator) -> Tensor:
    """A few frames of each clip as (B, 3, H, W) in [-1, 1]."""
    picked = []
    for row in rows:
        frames = store.frames(row)
        picked.append(frames[torch.randperm(len(frames), generator=generator)[:FRAMES_PER_CLIP].numpy()])
    return from_pixels(torch.from_numpy(np.concatenate(picked)))


def psnr(squared_error: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, of a mean squared error in a range of [-1, 1]."""
    return 10 * torch.log10(4 / squared_error.clamp(min=1e-10))
