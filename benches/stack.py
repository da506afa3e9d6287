"""What a stack of blocks takes to train: tokens a second, and how much of the matrix products that the device can do.

The blocks are those of a model of 2,048 channels, dual ones and single ones, on packed clips of 4,096 and of 16,384
tokens; beside them the same blocks made of references, eager and compiled, and the transformer of LTX-2 in `diffusers`,
of the same width, with as many blocks. References have the attention of the others, which is chosen as everywhere.
Operations are counted by PyTorch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from avctl.kernels.attention_choice import use
from avctl.kernels.record import modules
from avctl.models.joint_dit import JointTransformer
from avctl.models.latents import Tracks
from avctl.models.packing import Clock, Grid, pack
from avctl.schema import JointDiT
from avctl.training.recompute import recompute
from benches import ceilings
from benches.clock import in_turns
from benches.device import Device, device, identity, state
from benches.frame import Row

BENCH, COMMAND = "stack", "python -m benches stack"
ROUNDS = 5
NUM_DUAL, NUM_SINGLE = 2, 4  # a quarter of the model's blocks
CLOCK = Clock((1 / 6, 1 / 50), (0.0, 0.0))
WORDS = 64
SIZES = (128, 64)  # numbers of a video token and of an audio token


class Shape(NamedTuple):
    name: str
    model: JointDiT
    clips: tuple[Grid, ...]


class Way(NamedTuple):
    """A forward pass that gives what is to be differentiated, and by which weights."""

    name: str
    forward: Callable[[], Tensor]
    weights: list[nn.Parameter]
    flops: int  # of forward and backward
    inside: Callable[[], AbstractContextManager[None]] = nullcontext

    def train(self) -> None:
        with self.inside():
            torch.autograd.grad(self.forward(), self.weights, allow_unused=True)


class Absent(NamedTuple):
    name: str
    reason: str


def rows(on: Device | None = None, until: float = float("inf")) -> Iterator[Row]:
    """Tokens a second of every way at every size, in turns, after the ceilings of the same run. What would begin after
    `until`, a time of `time.monotonic`, is not run, and says so."""
    on = on or device()
    with on.stream():
        known = {row.what: row for row in ceilings.rows(on, COMMAND)}
        yield from known.values()
        for shape in shapes(on):
            if time.monotonic() > until:
                yield Row.too_late(BENCH, f"training, {shape.name}: everybody", "tokens/s", COMMAND)
                continue
            yield from _race(shape, on, 1e12 * known["matmul"].median)


def shapes(on: Device) -> Iterator[Shape]:
    """On a processor, small ones of the same kind."""
    if not on.is_gpu:
        model = JointDiT(width=256, num_dual=1, num_single=1, heads=2)
        yield Shape("600 tokens", model, (Grid(8, 6, 8, 88),))
        return
    model = JointDiT(width=2_048, num_dual=NUM_DUAL, num_single=NUM_SINGLE, heads=16)
    yield Shape("4k tokens", model, (Grid(12, 16, 20, 192),))
    yield Shape("16k tokens", model, (Grid(25, 24, 26, 720),))
    yield Shape("16k tokens in 8 clips", model, (Grid(10, 16, 18, 64), Grid(1, 32, 32, 0)) * 4)


def _race(shape: Shape, on: Device, flops_s: float) -> Iterator[Row]:
    everybody = [_runs(each) for each in (*_ours(shape, on), _diffusers(shape, on))]
    ways = [way for way in everybody if isinstance(way, Way)]
    kept = {way.name: _kept_bytes(way) if on.is_gpu else None for way in ways}
    laps = {way.name: way.train for way in ways}
    seconds = in_turns(lambda number: laps, 1, ROUNDS, on).seconds
    tokens = sum(grid.pictures + grid.sounds for grid in shape.clips)
    about = identity(on) | state(on) | {"dtype": str(on.dtype).removeprefix("torch."), "tokens": tokens}
    for each in everybody:
        what = f"training, {shape.name}: {each.name}"
        if isinstance(each, Absent):
            yield Row(BENCH, what, "tokens/s", COMMAND, (), about | {"provider": each.name}, each.reason)
            continue
        values = seconds[each.name]
        of_matmul = each.flops / flops_s / statistics.median(values)
        own = {"provider": each.name, "flops": each.flops, "of_matmul": of_matmul, "kept_bytes": kept[each.name]}
        yield Row(BENCH, what, "tokens/s", COMMAND, tuple(tokens / value for value in values), about | own)


def _runs(way: Way | Absent) -> Way | Absent:
    """Who takes part, or why it does not."""
    try:
        if isinstance(way, Way):
            way.train()
    except Exception as error:  # of compilers, packages and memory: its row says what
        return Absent(way.name, f"does not run: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
    return way


def _ours(shape: Shape, on: Device) -> Iterator[Way]:
    """The whole transformer, between embedding and output."""
    torch.manual_seed(0)
    model = JointTransformer(shape.model, SIZES).to(on.torch)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.02)
    inputs = _inputs(shape, on)

    def forward(model: Callable[..., Tracks] = model) -> Tensor:
        with torch.autocast(on.torch.type, on.dtype, enabled=on.dtype != torch.float32):
            video, audio = model(*inputs)
        return video.float().square().mean() + audio.float().square().mean()

    weights = list(model.parameters())
    flops = _flops(forward, weights, on)
    yield Way("avctl", forward, weights, flops)
    yield Way("references", forward, weights, flops, references)
    if on.is_gpu:
        yield Way("avctl, compiled", partial(forward, torch.compile(model, fullgraph=True)), weights, flops)
        other = deepcopy(model)
        compiled = torch.compile(other, fullgraph=True)
        yield Way("references, compiled", partial(forward, compiled), list(other.parameters()), flops, references)
        cheap = deepcopy(model)
        recompute(cheap, "cheap", on.torch)
        yield Way("avctl, cheap recompute", partial(forward, cheap), list(cheap.parameters()), flops)


def _inputs(shape: Shape, on: Device) -> tuple:
    count, width = len(shape.clips), shape.model.width
    lengths = sum(grid.pictures for grid in shape.clips), sum(grid.sounds for grid in shape.clips)
    tokens = Tracks(*(torch.randn(n, size, device=on.torch) for n, size in zip(lengths, SIZES, strict=True)))
    given = tokens.map(lambda x: (torch.rand(len(x), device=on.torch) < 0.2).float())
    text = torch.randn(count, WORDS, width, device=on.torch)
    pooled, t = torch.randn(count, width, device=on.torch), torch.rand(count, device=on.torch)
    return tokens, t, given, text, pooled, pack(shape.clips, WORDS, CLOCK).to(on.torch)


def _diffusers(shape: Shape, on: Device) -> Way | Absent:
    """LTX-2: streams of their own throughout, that attend to themselves, to text and to each other."""
    name = "diffusers LTX-2"
    if len(set(shape.clips)) > 1:
        return Absent(name, "takes clips of one size")
    try:
        from diffusers import LTX2VideoTransformer3DModel  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        return Absent(name, f"is not installed: {error}")
    spec, clip = shape.model, shape.clips[0]
    heads = {"num_attention_heads": spec.heads, "attention_head_dim": spec.width // spec.heads}
    model = LTX2VideoTransformer3DModel(
        in_channels=SIZES[0], out_channels=SIZES[0], audio_in_channels=SIZES[1], audio_out_channels=SIZES[1],
        cross_attention_dim=spec.width, audio_cross_attention_dim=spec.width, caption_channels=spec.width,
        num_layers=spec.num_dual + spec.num_single, **heads, **{f"audio_{name}": size for name, size in heads.items()},
    ).to(on.torch, on.dtype)  # fmt: skip

    def draw(*size: int) -> Tensor:
        return torch.randn(1, *size, device=on.torch, dtype=on.dtype)

    tokens, words = (draw(clip.pictures, SIZES[0]), draw(clip.sounds, SIZES[1])), draw(WORDS, spec.width)
    time = torch.full((1, clip.pictures), 500.0, device=on.torch)
    place = {"num_frames": clip.frames, "height": clip.rows, "width": clip.columns, "audio_num_frames": clip.sounds}

    def forward() -> Tensor:
        video, audio = model(*tokens, words, words, time, time[:, : clip.sounds], **place, return_dict=False)
        return video.float().square().mean() + audio.float().square().mean()

    weights = list(model.parameters())
    return Way(name, forward, weights, _flops(forward, weights, on))


def _flops(forward: Callable[[], Tensor], weights: list[nn.Parameter], on: Device) -> int:
    """By references, and a backend of attention whose operations are known."""
    use("flash" if on.is_gpu else "auto")
    with references(), FlopCounterMode(display=False) as counter:
        torch.autograd.grad(forward(), weights, allow_unused=True)
    use("auto")
    return counter.get_total_flops()


def _kept_bytes(way: Way) -> int:
    """What forward leaves behind on a GPU for backward."""
    way.train()
    with way.inside():
        held = torch.cuda.memory_allocated()
        out = way.forward()
        kept = torch.cuda.memory_allocated() - held
        del out
    return kept


@contextmanager
def references() -> Iterator[None]:
    """No kernel of ours runs inside, whatever the device."""
    kept = [(module, module.runs_triton) for module in modules() if hasattr(module, "runs_triton")]
    for module, _ in kept:
        vars(module)["runs_triton"] = lambda *tensors: False
    try:
        yield
    finally:
        for module, runs_triton in kept:
            vars(module)["runs_triton"] = runs_triton
