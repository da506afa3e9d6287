"""What a step of training and of sampling takes on a processor, against plain PyTorch in float32.

Two models on random latents: that of `recipes/tiny.py`, and one of 384 channels with 1,090 tokens a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from avctl.compute.memory import keep_freed_memory
from avctl.compute.precision import autocast
from avctl.compute.threads import Threads
from avctl.models.generator import Generator
from avctl.models.latents import Layout, Tracks
from avctl.recipe import load
from avctl.schema import JointDiT, Recipe
from avctl.schema.runtime import cores
from avctl.schema.train import Dtype
from benches.frame import Row, Timings

BENCH, COMMAND = "step", "python -m benches step"
TINY = Path(__file__).parents[1] / "recipes" / "tiny.py"
ROUNDS = 9
CPU = torch.device("cpu")


class Setting(NamedTuple):
    name: str
    model: JointDiT
    layout: Layout
    clips: int


def rows() -> Iterator[Row]:
    """Milliseconds, and how many times as fast as plain PyTorch each way is."""
    keep_freed_memory()
    torch.set_num_threads(cores())
    for setting in _settings():
        batch = Batch(setting)
        timings = Timings(BENCH, COMMAND)
        with Threads.on(CPU) as threads:
            ways = {
                f"{pass_}, {setting.name}: {name}": way
                for pass_, part in (("training", batch.train), ("sampling", batch.sample))
                for name, way in _ways(batch, part, threads, is_split=pass_ == "training").items()
            }
            for way in ways.values():
                way()
            for number in range(ROUNDS):
                for what, way in ways.items() if number % 2 == 0 else reversed(ways.items()):
                    with timings(what):
                        way()
        yield from timings.rows()
        walls = {what: values for what, values, _ in timings.items()}
        for what, values in walls.items():
            plain = walls[what.partition(":")[0] + ": plain float32"]
            times = tuple(before / after for before, after in zip(plain, values, strict=True))  # of the same round
            yield Row(BENCH, what, "times plain", COMMAND, times)


def _settings() -> Iterator[Setting]:
    model = load(TINY, Recipe).model
    assert isinstance(model, JointDiT)
    audio = {"audio_frames": 100, "audio_channels": 48, "audio_rate": 50.0}
    yield Setting("tiny", model, Layout(32, 12, (4, 4), 16.0, **audio), 24)
    wide = JointDiT(width=384, num_dual=2, num_single=4, heads=6, video_patch=(1, 2, 2), audio_patch=2)
    yield Setting("384 channels", wide, Layout(16, 16, (16, 16), 16.0, **audio), 2)


class Batch:
    """A model, and random clips for it."""

    def __init__(self, setting: Setting):
        torch.manual_seed(0)
        self.count, self.model = setting.clips, Generator(setting.model, setting.layout)
        self.grid = self.model.patches.main
        lengths, sizes = (self.grid.pictures, self.grid.sounds), self.model.patches.sizes
        self.clips = Tracks(*(torch.randn(self.count, *size) for size in zip(lengths, sizes, strict=True)))
        self.t = torch.rand(self.count)
        self.words = self.model.tokenize(["a small red ball hits"] * self.count)

    def forward(self, part: Tensor, dtype: Dtype) -> tuple[Tracks, Tracks]:
        """What goes in, and what comes out."""
        tokens = self.clips.map(lambda x: x[part].flatten(0, 1))
        given, packing = tokens.map(lambda x: torch.zeros(len(x))), self.model.pack([self.grid] * len(part))
        with autocast(dtype, CPU):
            return tokens, self.model(tokens, self.t[part], given, self.words[part], packing)

    def train(self, part: Tensor, dtype: Dtype) -> None:
        pairs = zip(*self.forward(part, dtype), strict=True)
        loss = sum(((output.float() - x).square().mean() for x, output in pairs), torch.zeros(()))
        torch.autograd.grad(loss, list(self.model.parameters()), allow_unused=True)

    @torch.inference_mode()
    def sample(self, part: Tensor, dtype: Dtype) -> None:
        self.forward(part, dtype)


def _ways(
    batch: Batch, one: Callable[[Tensor, Dtype], None], threads: Threads, *, is_split: bool
) -> dict[str, Callable[[], object]]:
    """As avctl does it, a part of the batch a thread where it trains; and beside it with less."""
    whole = torch.arange(batch.count)
    parts = list(whole.tensor_split(threads.count)) if is_split else [whole]
    return {
        "avctl": lambda: threads.map(lambda part: one(part, "auto"), parts),
        "bfloat16 on PyTorch's threads": lambda: one(whole, "bfloat16"),
        "plain float32": lambda: one(whole, "float32"),
    }
