"""What a stack of blocks takes to train: tokens a second, and how much of the matrix products that the device can do.

The blocks are those of a model of 2,048 channels, dual ones and single ones, on packed clips of 4,096 and of 16,384
tokens; beside them the same blocks made of references, eager and compiled, and the transformer of LTX-2 in `diffusers`,
of the same width, with as many blocks. References have the attention of the others, which is chosen as everywhere.
Operations are counted by PyTorch.

Ways with the same weights are checked first: outputs and the gradient of every weight against references in a wider
format, float64 on a processor and float32 on a GPU. An error is that of the whole tensor, over its norm; allowed is
twice that of references in the format of the device and its last place. LTX-2 is another model, and need only run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from avctl.kernels.attention_choice import use, who_ran
from avctl.kernels.record import modules
from avctl.models.joint_dit import JointTransformer
from avctl.models.latents import Tracks
from avctl.models.packing import Clock, Grid, pack
from avctl.schema import JointDiT
from avctl.training.recompute import recompute
from benches import ceilings
from benches.clock import in_turns
from benches.device import Device, device, identity, state
from benches.frame import Row, failure

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
    """A forward pass to both outputs, and the weights by which it is differentiated."""

    name: str
    forward: Callable[[], tuple[Tensor, Tensor]]
    weights: list[nn.Parameter]
    flops: int  # of forward and backward
    inside: Callable[[], AbstractContextManager[None]] = nullcontext
    is_alike: bool = True  # has the weights of the others

    def train(self) -> list[Tensor]:
        """Both outputs, and the gradients of all weights; zeros of those that nothing depends on."""
        with self.inside():
            outputs = self.forward()
            loss = sum((y.float().square().mean() for y in outputs), torch.zeros((), device=outputs[0].device))
            gradients = torch.autograd.grad(loss, self.weights, allow_unused=True, materialize_grads=True)
        return [*(y.detach() for y in outputs), *gradients]


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
    gate = Gate(shape, on)
    everybody = [_admitted(each, gate) for each in (*_ours(shape, on), _diffusers(shape, on))]
    ways = [way for way in everybody if isinstance(way, Way)]
    kept = {way.name: _kept_bytes(way) if on.is_gpu else None for way in ways}
    laps = {way.name: way.train for way in ways}
    turns = in_turns(lambda number: laps, 1, ROUNDS, on)
    tokens = sum(grid.pictures + grid.sounds for grid in shape.clips)
    about = identity(on) | state(on) | {"dtype": str(on.dtype).removeprefix("torch."), "tokens": tokens}
    about["attention"] = who_ran()
    for each in everybody:
        what = f"training, {shape.name}: {each.name}"
        if isinstance(each, Absent):
            yield Row(BENCH, what, "tokens/s", COMMAND, (), about | {"provider": each.name}, each.reason)
            continue
        values = turns.seconds[each.name]
        of_matmul = each.flops / flops_s / statistics.median(values)
        own = {"provider": each.name, "flops": each.flops, "of_matmul": of_matmul, "kept_bytes": kept[each.name]}
        own |= turns.details(each.name)
        yield Row(BENCH, what, "tokens/s", COMMAND, tuple(tokens / value for value in values), about | own)


class Gate:
    """What references make of the same weights and tokens in a wider format, and how far from it others may be."""

    def __init__(self, shape: Shape, on: Device):
        self.last_place = torch.finfo(on.dtype).eps
        with references():
            model, inputs = _model(shape, on)
            eager = _way("references", model, inputs, on).train()
            wide = torch.float32 if on.is_gpu else torch.float64
            inputs = tree_map(lambda x: x.to(wide) if isinstance(x, Tensor) and x.is_floating_point() else x, inputs)
            self.exact = _way("exact", model.to(wide), inputs, on._replace(dtype=wide)).train()
        self.allowed = [2 * error + self.last_place for error in self._errors(eager)]

    def refusal(self, way: Way) -> str | None:
        """Why a way is not timed, which must at least run."""
        made = way.train()
        if not way.is_alike:
            return None
        pairs = zip(self._errors(made), self.allowed, strict=True)
        wrong = [f"{error:.2g} where {allowed:.2g} is allowed" for error, allowed in pairs if not error <= allowed]
        return f"is not exact: {len(wrong)} of {len(made)} tensors, the first {wrong[0]}" if wrong else None

    def _errors(self, made: list[Tensor]) -> list[float]:
        """Over the norm of each. What is zero has to be."""
        smallest = torch.finfo(torch.float32).tiny
        pairs = zip(made, self.exact, strict=True)
        return [float((x.to(exact.dtype) - exact).norm() / exact.norm().clamp(min=smallest)) for x, exact in pairs]


def _admitted(way: Way | Absent, gate: Gate) -> Way | Absent:
    """Who takes part, or why it does not."""
    try:
        reason = gate.refusal(way) if isinstance(way, Way) else way.reason
    except Exception as error:  # of compilers, packages and memory: its row says what
        reason = f"does not run: {failure(error)}"
    return Absent(way.name, reason) if reason else way


def _model(shape: Shape, on: Device) -> tuple[JointTransformer, tuple]:
    """The whole transformer, between embedding and output, and what it takes: always the same. Its weights are such
    that every block counts."""
    torch.manual_seed(0)
    model = JointTransformer(shape.model, SIZES).to(on.torch)
    for name, parameter in model.named_parameters():
        if not name.endswith("qk_scale"):  # stays near one
            nn.init.normal_(parameter, std=shape.model.width**-0.5)
    return model, _inputs(shape, on)


def _way(name: str, model: nn.Module, inputs: tuple, on: Device) -> Way:
    """In the format of the device; its operations are yet to be counted."""

    def forward() -> tuple[Tensor, Tensor]:
        with torch.autocast(on.torch.type, torch.bfloat16, enabled=on.dtype == torch.bfloat16):
            video, audio = model(*inputs)
        return video, audio

    return Way(name, forward, list(model.parameters()), 0)


def _ours(shape: Shape, on: Device) -> Iterator[Way]:
    model, inputs = _model(shape, on)
    way = partial(_way, inputs=inputs, on=on)
    flops = _flops(way("avctl", model))
    yield way("avctl", model)._replace(flops=flops)
    yield way("references", model)._replace(flops=flops, inside=references)
    if on.is_gpu:
        yield way("avctl, compiled", _compiled(model))._replace(flops=flops)
        yield way("references, compiled", _compiled(deepcopy(model)))._replace(flops=flops, inside=references)
        cheap = deepcopy(model)
        recompute(cheap, "cheap", on.torch)
        yield way("avctl, cheap recompute", cheap)._replace(flops=flops)


def _compiled(model: nn.Module) -> Any:
    return torch.compile(model, fullgraph=True)


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
        transformer: Any = import_module("diffusers").LTX2VideoTransformer3DModel
    except (ImportError, AttributeError) as error:
        return Absent(name, f"is not installed: {error}")
    spec, clip = shape.model, shape.clips[0]
    heads = {"num_attention_heads": spec.heads, "attention_head_dim": spec.width // spec.heads}
    model = transformer(
        in_channels=SIZES[0], out_channels=SIZES[0], audio_in_channels=SIZES[1], audio_out_channels=SIZES[1],
        cross_attention_dim=spec.width, audio_cross_attention_dim=spec.width, caption_channels=spec.width,
        num_layers=spec.num_dual + spec.num_single, **heads, **{f"audio_{name}": size for name, size in heads.items()},
    ).to(on.torch, on.dtype)  # fmt: skip

    def draw(*size: int) -> Tensor:
        return torch.randn(1, *size, device=on.torch, dtype=on.dtype)

    tokens, words = (draw(clip.pictures, SIZES[0]), draw(clip.sounds, SIZES[1])), draw(WORDS, spec.width)
    time = torch.full((1, clip.pictures), 500.0, device=on.torch)
    place = {"num_frames": clip.frames, "height": clip.rows, "width": clip.columns, "audio_num_frames": clip.sounds}

    def forward() -> tuple[Tensor, Tensor]:
        video, audio = model(*tokens, words, words, time, time[:, : clip.sounds], **place, return_dict=False)
        return video, audio

    way = Way(name, forward, list(model.parameters()), 0, is_alike=False)
    return way._replace(flops=_flops(way))


def _flops(way: Way) -> int:
    """By references, and a backend of attention whose operations are known."""
    use("flash" if way.weights[0].is_cuda else "auto")
    with references(), FlopCounterMode(display=False) as counter:
        way.train()
    use("auto")
    return counter.get_total_flops()


def _kept_bytes(way: Way) -> int:
    """What forward leaves behind on a GPU for backward."""
    way.train()
    with way.inside():
        held = torch.cuda.memory_allocated()
        out = way.forward()  # keeps what backward needs
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
