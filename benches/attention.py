"""Attention: packed rows against padded ones, and every backend against the others at named shapes.

Lengths are those of the mixture of `benches.loader`, images and short and long clips, in so many tokens that the
longest has a round number of them. Padded rows have no mask, which would only slow them down. The dispatcher is timed
as one of the ways, with the backend that it chose before and keeps. Everybody is checked before, on some of the heads
of the whole shape, and who is not exact is not timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from avctl.compute.memory import keep_freed_memory
from avctl.compute.threads import one_thread
from avctl.kernels.attention import attention, attention_flops
from avctl.kernels.attention_backends import BACKENDS, attention_reference
from avctl.kernels.attention_choice import Choice, chosen, use
from avctl.kernels.attention_flops import BACKWARD
from avctl.kernels.cases import Draw
from avctl.kernels.exact import judge
from avctl.kernels.segments import segments
from benches import ceilings
from benches.clock import MOST_CALLS, Lap, calls_of, in_turns
from benches.device import Device, device, identity, state
from benches.frame import Row, failure
from benches.loader import mixture, tokens
from benches.race import leave_nan_behind

BENCH, COMMAND = "attention", "python -m benches attention"
NUM_CLIPS, ROUNDS = 256, 7
CALLS = {"cuda": MOST_CALLS, "cpu": 2}  # of a lap, at most: a processor computes much longer than it reads
DISPATCHER = "chosen"

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]  # q, k, v, and the gradient of the output; each (S, N, K)


class Setting(NamedTuple):
    name: str
    lengths: tuple[int, ...]
    heads: int
    width: int


def rows(on: Device | None = None, until: float = float("inf")) -> Iterator[Row]:
    """Of forward, and of forward with backward. What would begin after `until`, a time of `time.monotonic`, is not
    run, and says so."""
    keep_freed_memory()
    on = on or device()
    with on.stream(), one_thread():  # as a step has it on a processor: a part of the batch for each
        found = list(ceilings.rows(on, COMMAND))
        yield from found
        (ceiling,) = (1e12 * row.median for row in found if row.what == "matmul")
        races = {f"{NUM_CLIPS} clips of the mixture": partial(_packed_and_padded, on)}
        races |= {setting.name: partial(_backends, setting, on, ceiling) for setting in _settings(on)}
        for name, race in races.items():
            for is_trained in (False, True):
                if time.monotonic() > until:
                    yield Row.too_late(BENCH, f"{name}, {_pass(is_trained)}: everybody", "TFLOP/s", COMMAND)
                else:
                    use("auto")  # forgets what it chose before
                    yield from race(is_trained)


def _packed_and_padded(on: Device, is_trained: bool) -> Iterator[Row]:
    """How many times as fast packed rows are, over how many times as many tokens padded ones have."""
    setting = Setting(f"{NUM_CLIPS} clips of the mixture", _lengths(NUM_CLIPS, 4_096 if on.is_gpu else 256), 4, 64)
    longest = max(setting.lengths)
    padded = setting._replace(lengths=(longest,) * NUM_CLIPS)
    gain = NUM_CLIPS * longest / sum(setting.lengths)
    rows = {name: Rows(each, on, is_trained) for name, each in (("packed", setting), ("padded", padded))}
    refused = {name: reason for name, each in rows.items() if (reason := each.refusal(None))}
    calls, ways = rows["packed"].calls, {name: each for name, each in rows.items() if name not in refused}

    def laps(number: int) -> dict[str, Lap]:
        return {name: each.lap(each.draw(number, calls), None) for name, each in ways.items()}

    turns = in_turns(laps, calls, ROUNDS, on)
    what = f"{setting.name} up to {longest}, {_pass(is_trained)}"
    for name, each in rows.items():
        values = tuple(1e3 * s for s in turns.seconds.get(name, ()))
        details = each.details() | {"calls": calls} | (turns.details(name) if values else {"provider": "avctl"})
        yield Row(BENCH, f"{what}: {name}", "ms", COMMAND, values, details, refused.get(name))
    if refused:
        return
    ratios = tuple(b / a for a, b in zip(turns.seconds["packed"], turns.seconds["padded"], strict=True))
    details = {"max / mean": gain} | rows["packed"].details()
    yield Row(BENCH, f"{what}: padded over packed", "times", COMMAND, ratios, details)
    yield Row(BENCH, f"{what}: of max / mean", "times", COMMAND, tuple(x / gain for x in ratios), details)


def _backends(setting: Setting, on: Device, ceiling: float, is_trained: bool) -> Iterator[Row]:
    """Everybody, and how much longer than the fastest the dispatcher takes. `ceiling` is FLOP/s."""
    rows = Rows(setting, on, is_trained)
    what, choice = f"{setting.name}, {_pass(is_trained)}", rows.choice
    names = [name for name in BACKENDS if on.torch.type in BACKENDS[name].devices and name != "reference"]
    backends: dict[str, str | None] = {**dict(zip(names, names, strict=True)), DISPATCHER: None}
    refused = {name: choice.refused.get(name) or rows.refusal(backend) for name, backend in backends.items()}
    ways = {name: backend for name, backend in backends.items() if not refused[name]}

    def laps(number: int) -> dict[str, Lap]:
        inputs = rows.draw(number, rows.calls)
        return {name: rows.lap(inputs, backend) for name, backend in ways.items()}

    turns = in_turns(laps, rows.calls, ROUNDS, on)
    for name in backends:
        rates = tuple(1e-12 * rows.flops / s for s in turns.seconds.get(name, ()))
        details = rows.details() | {"calls": rows.calls, "backend": choice.backend if name == DISPATCHER else name}
        details |= {"provider": "avctl"} if name == DISPATCHER else {}
        if rates:
            details |= turns.details(name) | {"of matmul": 1e12 * statistics.median(rates) / ceiling}
        yield Row(BENCH, f"{what}: {name}", "TFLOP/s", COMMAND, rates, details, refused[name])
    others = {name: statistics.median(seconds) for name, seconds in turns.seconds.items() if name != DISPATCHER}
    if refused[DISPATCHER] or not others:
        return
    best = min(others, key=lambda name: others[name])
    above = tuple(100 * (a / b - 1) for a, b in zip(turns.seconds[DISPATCHER], turns.seconds[best], strict=True))
    details = rows.details() | {"provider": "avctl", "best": best, "milliseconds": dict(choice.milliseconds)}
    yield Row(BENCH, f"{what}: chosen above the fastest", "%", COMMAND, above, details)


class Rows:
    """Attention of random numbers in the format of the device, by a backend or by the one that was chosen first."""

    def __init__(self, setting: Setting, on: Device, is_trained: bool):
        """Chooses; for a class of shapes that was asked for since `use`, there is nothing to choose."""
        self.setting, self.on, self.is_trained = setting, on, is_trained
        self.where = segments(torch.tensor(setting.lengths)).to(on.torch)
        self.shape = sum(setting.lengths), setting.heads, setting.width
        self.calls = calls_of(3 * on.dtype.itemsize * torch.Size(self.shape).numel(), on, CALLS[on.torch.type])
        self.flops = attention_flops(self.where, None, *self.shape[1:]) * (1 + BACKWARD * is_trained)
        known = chosen().keys()
        self.lap(self.draw(0, 1), None)()
        (asked,) = chosen().keys() - known
        self.choice: Choice = chosen()[asked]

    def draw(self, number: int, calls: int) -> list[Inputs]:
        """Those of a round."""
        return [self._inputs(number * calls + call) for call in range(calls)]

    def _inputs(self, seed: int) -> Inputs:
        draw, (S, N, K) = Draw(self.on.dtype, self.on.torch, seed), self.shape
        q, k, v = draw.normal(S, 3, N, K).unbind(1)
        return q, k, v, draw.normal(S, N, K)

    def lap(self, inputs: Sequence[Inputs], backend: str | None) -> Lap:
        """What it makes is kept until all are through: outputs go round in memory as inputs do."""
        given = [[x.detach().requires_grad_(self.is_trained) for x in qkv] for *qkv, _ in inputs]

        def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attention(q, k, v, self.where, backend=backend)

        if not self.is_trained:
            return lambda: [run(*qkv) for qkv in given]
        return lambda: [torch.autograd.grad(run(*qkv), qkv, y) for qkv, (*_, y) in zip(given, inputs, strict=True)]

    def refusal(self, backend: str | None) -> str | None:
        """Why it is not timed. Judged are the first and the last head, computed among all of them."""
        *qkv, _ = self._inputs(0)
        heads = torch.tensor(sorted({0, self.setting.heads - 1}), device=self.on.torch)

        def among_all(*some: Tensor) -> Tensor:
            q, k, v = (x.index_copy(1, heads, y) for x, y in zip(qkv, some, strict=True))
            return attention(q, k, v, self.where, backend=backend).index_select(1, heads)

        some = [x.index_select(1, heads) for x in qkv]
        try:
            leave_nan_behind(qkv)
            errors = judge(among_all, self._reference, some, is_trained=self.is_trained)
        except Exception as error:  # of kernels and packages: its row says what
            return f"does not run: {failure(error)}"
        return None if errors.are_allowed else f"is not exact: {errors}"

    def _reference(self, *qkv: Tensor) -> Tensor:
        """A clip and a head at a time, and again for backward: all pairs at once fit in no memory."""
        clips = zip(*(x.split(self.setting.lengths) for x in qkv), strict=True)
        return torch.cat([torch.cat([_dense(*head) for head in _by_head(clip)], 1) for clip in clips])

    def details(self) -> dict[str, Any]:
        S, N, K = self.shape
        shape = {"tokens": S, "heads": N, "width": K, "clips": len(self.setting.lengths), "flops": self.flops}
        shape["longest"] = max(self.setting.lengths)
        device = {"dtype": str(self.on.dtype).removeprefix("torch."), **identity(self.on), **state(self.on)}
        return {"backend": self.choice.backend, "chosen": self.choice.reason, **shape, **device}


def _by_head(qkv: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(x.split(1, dim=1) for x in qkv), strict=True)


def _dense(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return checkpoint(attention_reference, q, k, v, segments(torch.tensor([len(q)])).to(q.device), use_reentrant=False)


def _pass(is_trained: bool) -> str:
    return "forward and backward" if is_trained else "forward"


def _settings(on: Device) -> Iterator[Setting]:
    if not on.is_gpu:
        yield Setting("12 clips of 52", (52,) * 12, 5, 32)
        yield Setting("1 clip of 1,090", (1_090,), 6, 64)
        yield Setting("packed, up to 512", _lengths(32, 512), 4, 64)
        return
    for width in (64, 128):
        heads = 2_048 // width
        yield Setting(f"packed, up to 8,192, K={width}", _lengths(24, 8_192), heads, width)
        yield Setting(f"images, 256 of 256, K={width}", (256,) * 256, heads, width)
        for count, length in ((8, 4_096), (2, 16_384), (1, 32_768)):
            yield Setting(f"{count} of {length:,}, K={width}", (length,) * count, heads, width)


def _lengths(count: int, longest: int) -> tuple[int, ...]:
    """Of so many clips of the mixture."""
    found = [tokens(*clip) for clip in mixture(count)]
    return tuple(max(1, round(length * longest / max(found))) for length in found)
