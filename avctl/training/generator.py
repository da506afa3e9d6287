"""The objective of a joint generator: flow matching over the recipe's mix of tasks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from avctl.compute.precision import autocast
from avctl.compute.seed import seeded
from avctl.data.batches import Batches, sizes, waste
from avctl.data.collate import num_tokens
from avctl.data.order import Order
from avctl.diffusion import flow
from avctl.diffusion.tasks import draw_given, draw_tasks
from avctl.models.generator import Generator
from avctl.models.latents import Latents
from avctl.schema import Recipe, TrainGenerator
from avctl.store.reader import ClipRow, ClipStore


class Drawn(NamedTuple):
    """Clips of one bucket, each with a task and a time of its own."""

    clean: Latents  # as the codecs make them
    noise: Latents
    t: Tensor  # B
    given: Latents  # masks, B F each
    captions: tuple[str, ...]  # those dropped empty


class Batch(NamedTuple):
    clean: Latents  # as the codecs make them
    noise: Latents
    t: Tensor  # B
    given: Latents  # masks, B F each
    tokens: Tensor  # of captions, those dropped empty

    def clips(self, indices: Tensor) -> Batch:
        """Some clips of the batch."""
        clean, noise, given = (x.map(lambda x: x[indices]) for x in (self.clean, self.noise, self.given))
        return Batch(clean, noise, self.t[indices], given, self.tokens[indices])


@dataclass(frozen=True)
class Draw:
    """What a step learns from: a function of its number that needs no model, and can be sent to another process."""

    store: ClipStore
    rows: list[ClipRow]
    batches: Batches
    spec: TrainGenerator
    seed: int
    spans: tuple[int, int]  # latent frames of a video token and of an audio token

    def __call__(self, step: int) -> Drawn:
        rows = [self.rows[i] for i in self.batches(step)]
        clean = Latents(*(torch.from_numpy(array).float() for array in self.store.latents(rows)))
        generator = seeded(self.seed, "train", step)
        noise = clean.map(lambda x: torch.randn(x.shape, generator=generator))
        tasks = draw_tasks(self.spec.tasks, len(rows), generator)
        given = draw_given(tasks, (clean.video.shape[1], clean.audio.shape[1]), self.spans, generator)
        drop = torch.rand(len(rows), generator=generator)
        rates = [self.spec.drop_caption if task == "text_to_both" else self.spec.drop_caption_given for task in tasks]
        captions = ("" if d < rate else row.caption for d, rate, row in zip(drop.tolist(), rates, rows, strict=True))
        return Drawn(clean, noise, flow.draw_times(self.spec.flow, len(rows), generator), given, tuple(captions))


def bucket_of(row: ClipRow) -> Hashable:
    """What clips of one batch have in common: the size of their pictures, and both lengths."""
    assert row.video_latents and row.audio_latents
    return row.video_latents.name, row.video_latents.length, row.audio_latents.length


class GeneratorObjective:
    """Batches of clips as latents, each with a task and a time of its own, and the loss on them.

    The clips of a batch are of one bucket: equal in size and length. As many make a batch as have together no more
    tokens than `batch` clips of the main bucket have.
    """

    def __init__(self, model: Generator, recipe: Recipe, store: ClipStore, rows: list[ClipRow], device: torch.device):
        assert isinstance(recipe.train, TrainGenerator)
        self.model, self.spec, self.device = model, recipe.train, device
        patches, layout = model.transformer.patches, model.layout
        grid, sounds = patches.grid((layout.video_frames, *layout.video_size), layout.audio_frames)
        self.budget = recipe.train.batch * (math.prod(grid) + sounds)
        buckets = [bucket_of(row) for row in rows]
        self.counts = Counter(buckets)
        examples = dict(zip(buckets, rows, strict=True))
        self.tokens = {bucket: num_tokens(store, row, patches) for bucket, row in examples.items()}
        files = [store.file_of(row.video_latents) for row in rows if row.video_latents]
        batches = Batches(Order(len(rows), recipe.seed, files), buckets, sizes(self.tokens, self.budget))
        self.load = Draw(store, rows, batches, recipe.train, recipe.seed, patches.spans)

    @property
    def waste(self) -> float:
        """Share of the tokens that a batch may have that batches do not have, over an epoch."""
        return waste(self.counts, self.tokens, self.budget)

    def finish(self, loaded: Drawn) -> Batch:
        tokens = self.model.tokenize(loaded.captions)
        return Batch(loaded.clean, loaded.noise, loaded.t, loaded.given, tokens)

    def batch(self, step: int) -> Batch:
        return self.finish(self.load(step))

    def num_items(self, batch: Batch) -> int:
        return len(batch.t)

    def split(self, batch: Batch, count: int) -> list[tuple[Batch, float]]:
        parts = [indices for indices in torch.arange(len(batch.t)).tensor_split(count) if len(indices)]
        return [(batch.clips(indices), len(indices) / len(batch.t)) for indices in parts]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        clean, noise, given = (x.map(lambda x: x.to(self.device)) for x in (batch.clean, batch.noise, batch.given))
        clean, t, tokens = self.model.scale(clean), batch.t.to(self.device), batch.tokens.to(self.device)
        mixed = clean.map(lambda x, n, g: flow.mix(x, n, t, g), noise, given)
        with autocast(self.spec.dtype, self.device):
            output = self.model(mixed, t, given, tokens)
        video, audio = flow.loss(self.spec.flow, output, clean, noise, t, given)
        total = (video + self.spec.flow.audio_weight * audio).mean()
        figures = {"loss_video": video.detach().mean(), "loss_audio": audio.detach().mean()}
        return total, figures | ({"waste": self._unused(clean)} if len(self.counts) > 1 else {})

    def _unused(self, latents: Latents) -> Tensor:
        """Share of the token budget that a batch of clips of this shape leaves unused."""
        _, frames, _, height, width = latents.video.shape
        grid, sounds = self.model.transformer.patches.grid((frames, height, width), latents.audio.shape[1])
        tokens = math.prod(grid) + sounds
        return torch.tensor(1 - sizes({0: tokens}, self.budget)[0] * tokens / self.budget)
