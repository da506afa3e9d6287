"""What a step of training and of sampling takes on a processor, against plain PyTorch in float32.

Two models on random latents: that of `recipes/tiny.py`, and one of 384 channels with 1,090 tokens a clip. A step of
training is that of `avctl.training`: tasks, times and noise, loss, gradients, the optimizer and the average of the
weights. Plain PyTorch has the same loss, and `torch.optim.AdamW` for all weights, where a recipe may name Muon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from avctl.compute.memory import keep_freed_memory
from avctl.compute.precision import autocast
from avctl.compute.seed import seeded
from avctl.compute.threads import Threads
from avctl.diffusion import flow
from avctl.diffusion.tasks import draw_given, draw_tasks
from avctl.models.generator import Generator
from avctl.models.latents import Layout, Tracks
from avctl.recipe import load, replace
from avctl.schema import JointDiT, Recipe, TrainGenerator
from avctl.schema.runtime import cores
from avctl.schema.train import Dtype
from avctl.training import loop
from avctl.training.ema import EMA
from avctl.training.generator import Batch, Drawn, GeneratorObjective
from avctl.training.optim import Optimizer
from benches.device import Device, identity
from benches.frame import Row, Timings

BENCH, COMMAND = "step", "python -m benches step"
TINY = Path(__file__).parents[1] / "recipes" / "tiny.py"
ROUNDS = 9
CPU = torch.device("cpu")
Way = Callable[[], object]


class Setting(NamedTuple):
    name: str
    model: JointDiT
    layout: Layout
    train: TrainGenerator


def rows() -> Iterator[Row]:
    """Milliseconds, and how many times as fast as plain PyTorch each way is."""
    keep_freed_memory()
    torch.set_num_threads(cores())
    for setting in _settings():
        timings = Timings(BENCH, COMMAND)
        with Threads.on(CPU) as threads:
            passes = {"training": training(setting, threads), "sampling": sampling(setting)}
            ways = {f"{name}, {setting.name}: {who}": way for name, each in passes.items() for who, way in each.items()}
            for way in ways.values():
                way()
            for number in range(ROUNDS):
                for what, way in ways.items() if number % 2 == 0 else reversed(ways.items()):
                    with timings(what):
                        way()
        about = _about(setting)
        yield from (with_fields(row, details=about) for row in timings.rows())
        walls = {what: values for what, values, _ in timings.items()}
        for what, values in walls.items():
            plain = walls[what.partition(":")[0] + ": plain float32"]
            times = tuple(before / after for before, after in zip(plain, values, strict=True))  # of the same round
            yield Row(BENCH, what, "times plain", COMMAND, times, about)


def _settings() -> Iterator[Setting]:
    recipe = load(TINY, Recipe)
    assert isinstance(recipe.model, JointDiT) and isinstance(recipe.train, TrainGenerator)
    audio = {"audio_frames": 100, "audio_channels": 48, "audio_rate": 50.0}
    yield Setting("tiny", recipe.model, Layout(32, 12, (4, 4), 16.0, **audio), recipe.train)
    wide = JointDiT(width=384, num_dual=2, num_single=4, heads=6, video_patch=(1, 2, 2), audio_patch=2)
    yield Setting("384 channels", wide, Layout(16, 16, (16, 16), 16.0, **audio), replace(recipe.train, batch=2))


def _about(setting: Setting) -> dict[str, Any]:
    grid = Generator(setting.model, setting.layout).patches.main
    tokens = setting.train.batch * (grid.pictures + grid.sounds)
    return identity(Device(CPU, torch.float32, 0)) | {"tokens": tokens, "clips": setting.train.batch}


class Objective(GeneratorObjective):
    """That of training, on random latents that no store holds."""

    def __init__(self, setting: Setting, dtype: Dtype):
        torch.manual_seed(0)
        self.model, self.device, self.is_split = Generator(setting.model, setting.layout), CPU, True
        self.spec = replace(setting.train, dtype=dtype)

    @property
    def num_sizes(self) -> int:
        return 1

    def batch(self, step: int) -> Batch:
        """Tasks, times and noise are drawn as in training."""
        count, generator, patches = self.spec.batch, seeded(0, "train", step), self.model.patches
        grids = (patches.main,) * count
        lengths = count * patches.main.pictures, count * patches.main.sounds
        clean = Tracks(
            *(torch.randn(*size, generator=generator) for size in zip(lengths, patches.sizes, strict=True))
        )  # (V, p), (A, q)
        given = draw_given(draw_tasks(self.spec.tasks, count, generator), grids, generator)
        seeds, t = flow.draw_seeds(count, generator), flow.draw_times(self.spec.flow, count, generator)
        return self.finish(Drawn(grids, clean, given, seeds, t, ("a small red ball hits",) * count))


class Training:
    """A step as avctl does it, a part of the batch a thread."""

    def __init__(self, setting: Setting, dtype: Dtype, threads: Threads):
        self.objective, self.threads = Objective(setting, dtype), threads
        self.batch, self.number = self.objective.batch(0), 0
        self.ema = EMA(self.objective.model, setting.train.ema)
        spec = self.objective.spec
        self.optimizer = Optimizer(spec.optim, self.objective.model, spec.steps, threads, self.ema)

    def step(self) -> Tensor:
        """The loss before it."""
        figures = loop.differentiate(self.objective, self.batch, self.threads)
        self.optimizer.step(self.number, self.optimizer.norm())
        self.number += 1
        return figures["loss"]


class Plain:
    """The same step of the same loss, as PyTorch offers it."""

    def __init__(self, setting: Setting):
        self.objective = Objective(setting, "float32")
        self.batch = self.objective.batch(0)
        self.weights: list[Tensor] = [*self.objective.model.parameters()]
        self.averages, self.decay = [p.detach().clone() for p in self.weights], setting.train.ema
        self.clip_norm, spec = setting.train.optim.clip_norm, setting.train.optim
        self.optimizer = torch.optim.AdamW(self.weights, spec.lr, spec.betas, weight_decay=spec.weight_decay)

    def step(self) -> Tensor:
        """The loss before it."""
        loss, _ = self.objective.loss(self.batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, self.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.weights, 1 - self.decay)  # pyright: ignore[reportPrivateImportUsage]
        return loss.detach()


def training(setting: Setting, threads: Threads) -> dict[str, Way]:
    """As avctl does it, and beside it with less; each has a model and an optimizer of its own."""
    return {
        "avctl": Training(setting, "auto", threads).step,
        "bfloat16 on PyTorch's threads": Training(setting, "bfloat16", Threads(1)).step,
        "plain float32": Plain(setting).step,
    }


def sampling(setting: Setting) -> dict[str, Way]:
    """A call of the network, all clips at once."""
    objective = Objective(setting, "auto")
    batch, model = objective.batch(0), objective.model.eval()

    @torch.inference_mode()
    def call(dtype: Dtype) -> Tracks:
        with autocast(dtype, CPU):
            return model(batch.clean, batch.t, batch.given, batch.words, batch.packing)

    return {
        "avctl": lambda: call("auto"),
        "bfloat16 on PyTorch's threads": lambda: call("bfloat16"),
        "plain float32": lambda: call("float32"),
    }
