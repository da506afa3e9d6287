"""The objective of a joint generator: flow matching over the recipe's mix of tasks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avctl.compute.precision import autocast
from avctl.compute.seed import seeded
from avctl.data.order import Order
from avctl.diffusion import flow
from avctl.diffusion.tasks import draw_given, draw_tasks
from avctl.models.generator import Generator
from avctl.models.latents import Latents
from avctl.schema import Recipe, TrainGenerator
from avctl.store.reader import ClipRow, ClipStore


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


class GeneratorObjective:
    """Batches of clips as latents, each with a task and a time of its own, and the loss on them."""

    def __init__(self, model: Generator, recipe: Recipe, store: ClipStore, rows: list[ClipRow], device: torch.device):
        assert isinstance(recipe.train, TrainGenerator)
        self.model, self.spec, self.seed, self.device = model, recipe.train, recipe.seed, device
        self.store, self.rows = store, rows
        self.order = Order(len(rows), recipe.train.batch, recipe.seed)

    def batch(self, step: int) -> Batch:
        rows = [self.rows[i] for i in self.order(step)]
        video, audio = (torch.from_numpy(array).float() for array in self.store.latents(rows))
        generator = seeded(self.seed, "train", step)
        clean = Latents(video, audio)
        noise = clean.map(lambda x: torch.randn(x.shape, generator=generator))
        tasks = draw_tasks(self.spec.tasks, len(rows), generator)
        given = draw_given(tasks, self.model.layout, self.model.transformer.patches.spans, generator)
        drop = torch.rand(len(rows), generator=generator)
        rates = [self.spec.drop_caption if task == "text_to_both" else self.spec.drop_caption_given for task in tasks]
        captions = ["" if d < rate else row.caption for d, rate, row in zip(drop.tolist(), rates, rows, strict=True)]
        t = flow.draw_times(self.spec.flow, len(rows), generator)
        return Batch(clean, noise, t, given, self.model.tokenize(captions))

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
        return total, {"loss_video": video.detach().mean(), "loss_audio": audio.detach().mean()}
