"""The objective of a joint generator: flow matching over the recipe's mix of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from avctl.compute.precision import autocast
from avctl.compute.seed import seeded
from avctl.data.collate import grid_of, read_tokens
from avctl.data.feed import over_tensors
from avctl.data.order import Order
from avctl.data.packs import Packs
from avctl.diffusion import flow
from avctl.diffusion.tasks import draw_given, draw_tasks
from avctl.models.generator import Generator
from avctl.models.latents import Tracks
from avctl.models.packing import Grid, Packing
from avctl.models.patches import Patches
from avctl.schema import Recipe, TrainGenerator
from avctl.schema.train import Task
from avctl.store.reader import ClipRow, ClipStore


class Drawn(NamedTuple):
    """Packed clips, n of them, each with a task and a time of its own."""

    grids: tuple[Grid, ...]
    clean: Tracks  # tokens of latents as the codecs make them, (V, p) and (A, q)
    given: Tracks  # masks, (V,) and (A,)
    seeds: Tracks  # of the noise, n each
    t: Tensor  # n
    captions: tuple[str, ...]  # those dropped empty


class Batch(NamedTuple):
    """The same, as the model takes it."""

    grids: tuple[Grid, ...]
    clean: Tracks
    given: Tracks
    seeds: Tracks
    t: Tensor
    words: Tensor  # n L
    packing: Packing
    share: Tracks  # of each token in its clip's loss, (V,) and (A,)


@dataclass(frozen=True)
class Draw:
    """What a step learns from: a function of its number that needs no weights, and can be sent to another process."""

    store: ClipStore
    rows: list[ClipRow]
    packs: Packs
    spec: TrainGenerator
    seed: int
    patches: Patches

    def __call__(self, step: int) -> Drawn:
        rows = [self.rows[i] for i in self.packs(step)]
        grids = tuple(grid_of(self.store, row, self.patches) for row in rows)
        generator = seeded(self.seed, "train", step)
        seeds = flow.draw_seeds(len(rows), generator)
        tasks = _possible(draw_tasks(self.spec.tasks, len(rows), generator), grids)
        given = draw_given(tasks, grids, generator)
        drop = torch.rand(len(rows), generator=generator).tolist()
        rates = [self.spec.drop_caption if task == "text_to_both" else self.spec.drop_caption_given for task in tasks]
        captions = tuple("" if d < rate else row.caption for d, rate, row in zip(drop, rates, rows, strict=True))
        t = flow.draw_times(self.spec.flow, len(rows), generator)
        return Drawn(grids, read_tokens(self.store, rows, self.patches), given, seeds, t, captions)


def _possible(tasks: Sequence[Task], grids: Sequence[Grid]) -> list[Task]:
    """Of a picture or a sound alone nothing else is to be made: its caption is all that it is made from."""
    return [task if grid.pictures and grid.sounds else "text_to_both" for task, grid in zip(tasks, grids, strict=True)]


class GeneratorObjective:
    """Packs of clips as tokens of latents, each clip with a task and a time of its own, and the loss on them.

    A pack holds clips of any size and length that have together no more tokens than `batch` clips of the main format.
    """

    def __init__(
        self,
        model: Generator,
        recipe: Recipe,
        store: ClipStore,
        rows: list[ClipRow],
        device: torch.device,
        *,
        is_split: bool = True,  # into a part a thread; compiled code has threads of its own
    ):
        assert isinstance(recipe.train, TrainGenerator)
        self.model, self.spec, self.device, self.is_split = model, recipe.train, device, is_split
        lengths = [num_tokens(grid_of(store, row, model.patches)) for row in rows]
        self.budget = max(recipe.train.batch * num_tokens(model.patches.main), *lengths)
        files = [store.file_of(place) for row in rows if (place := row.video_latents or row.audio_latents)]
        self.packs = Packs(Order(len(rows), recipe.seed, files), lengths, self.budget)
        self.load = Draw(store, rows, self.packs, recipe.train, recipe.seed, model.patches)

    @property
    def num_sizes(self) -> int:
        """Sizes of clips, in tokens."""
        return len(set(self.packs.lengths))

    def finish(self, loaded: Drawn) -> Batch:
        grids, clean, given, seeds, t, captions = loaded
        packing, words = self.model.pack(grids), self.model.tokenize(captions)
        return Batch(grids, clean, given, seeds, t, words, packing, flow.shares(given, packing))

    def batch(self, step: int) -> Batch:
        return self.finish(self.load(step))

    def num_items(self, batch: Batch) -> int:
        return len(batch.grids)

    def split(self, batch: Batch, count: int) -> list[tuple[Batch, float]]:
        """Parts of clips that follow one another, of about as many tokens."""
        if count == 1 or not self.is_split:
            return [(batch, 1.0)]
        ends = batch.packing.joined.cu_seqlens.long()
        bounds = torch.searchsorted(ends * count, ends[-1] * torch.arange(count + 1)).tolist()
        parts = [slice(*each) for each in pairwise(bounds) if each[0] < each[1]]
        return [(self._clips(batch, part), (part.stop - part.start) / len(batch.grids)) for part in parts]

    def _clips(self, batch: Batch, part: slice) -> Batch:
        """Some clips that follow one another."""
        spans = [each.cu_seqlens[[part.start, part.stop]].tolist() for each in batch.packing.streams[1:]]

        def of_tokens(x: Tracks) -> Tracks:
            return Tracks(*(track[slice(*span)] for track, span in zip(x, spans, strict=True)))

        grids, seeds = batch.grids[part], batch.seeds.map(lambda x: x[part])
        clean, given, share = (of_tokens(x) for x in (batch.clean, batch.given, batch.share))
        return Batch(grids, clean, given, seeds, batch.t[part], batch.words[part], self.model.pack(grids), share)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over all clips; of what a clip has not, or is given, there is none."""
        _, clean, given, seeds, t, words, packing, share = over_tensors(batch, lambda x: x.to(self.device))
        clean = self.model.scale(clean)
        mixed = flow.mix(clean, t, given, seeds, packing)
        with autocast(self.spec.dtype, self.device):
            output = self.model(mixed, t, given, words, packing)
        video, audio = flow.loss(self.spec.flow, output, clean, t, share, seeds, packing)
        total = (video + self.spec.flow.audio_weight * audio).mean()
        figures = {"loss_video": video.detach().mean(), "loss_audio": audio.detach().mean()}
        return total, figures | ({"waste": self._unused(batch)} if self.num_sizes > 1 else {})

    def _unused(self, batch: Batch) -> Tensor:
        """Share of the token budget that a pack leaves unused."""
        return torch.tensor(1 - sum(map(num_tokens, batch.grids)) / self.budget)


def num_tokens(grid: Grid) -> int:
    """Tokens of picture and sound, which count for the budget of a pack."""
    return grid.pictures + grid.sounds
