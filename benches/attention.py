"""Attention: packed rows against padded ones, and every backend against the others at named shapes.

Lengths are those of the mixture of `benches.loader`, images and short and long clips, in so many tokens that the
longest has a round number of them. Padded rows have no mask, which would only slow them down. What the dispatcher takes
is timed with the others: on a GPU it has measured before, on a processor its rule is judged.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch

from avctl.compute.memory import keep_freed_memory
from avctl.compute.threads import one_thread
from avctl.kernels.attention import attention, attention_flops
from avctl.kernels.attention_backends import BACKENDS
from avctl.kernels.attention_choice import Choice, chosen, use
from avctl.kernels.attention_flops import BACKWARD
from avctl.kernels.segments import segments
from benches import ceilings
from benches.clock import in_turns
from benches.device import Device, device, identity, state
from benches.frame import Row
from benches.loader import mixture, tokens

BENCH, COMMAND = "attention", "python -m benches attention"
NUM_CLIPS, ROUNDS = 256, 7


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
        found = list(ceilings.rows(on))
        yield from found
        (ceiling,) = (1e12 * row.median for row in found if row.what == "matmul")
        races = {f"{NUM_CLIPS} clips of the mixture": partial(_packed_and_padded, on)}
        races |= {setting.name: partial(_backends, setting, on, ceiling) for setting in _settings(on)}
        for name, race in races.items():
            if time.monotonic() > until:
                yield Row.too_late(BENCH, f"{name}: everybody", "TFLOP/s", COMMAND)
                continue
            for is_trained in (False, True):
                yield from race(is_trained)


def _packed_and_padded(on: Device, is_trained: bool) -> Iterator[Row]:
    """How many times as fast packed rows are, over how many times as many tokens padded ones have."""
    setting = Setting(f"{NUM_CLIPS} clips of the mixture", _lengths(NUM_CLIPS, 4_096 if on.is_gpu else 256), 4, 64)
    longest = max(setting.lengths)
    padded = setting._replace(lengths=(longest,) * NUM_CLIPS)
    gain = NUM_CLIPS * longest / sum(setting.lengths)
    calls = {name: Call(each, on, is_trained) for name, each in (("packed", setting), ("padded", padded))}
    times = in_turns({name: call.run for name, call in calls.items()}, ROUNDS, on)
    what = f"{setting.name} up to {longest}, {_pass(is_trained)}"
    ratios = tuple(b / a for a, b in zip(times["packed"], times["padded"], strict=True))
    for name, call in calls.items():
        yield Row(BENCH, f"{what}: {name}", "ms", COMMAND, tuple(1e3 * s for s in times[name]), call.details())
    details = {"max / mean": gain} | calls["packed"].details()
    yield Row(BENCH, f"{what}: padded over packed", "times", COMMAND, ratios, details)
    yield Row(BENCH, f"{what}: of max / mean", "times", COMMAND, tuple(x / gain for x in ratios), details)


def _backends(setting: Setting, on: Device, ceiling: float, is_trained: bool) -> Iterator[Row]:
    """Everybody, and how much longer than the fastest the one takes that is chosen. `ceiling` is FLOP/s."""
    call = Call(setting, on, is_trained)
    what, flops, choice = f"{setting.name}, {_pass(is_trained)}", call.flops(), call.choice
    ways: dict[str, Callable[[], object]] = {}
    for name in (name for name in BACKENDS if on.torch.type in BACKENDS[name].devices and name != "reference"):
        try:
            call.run(name)
            ways[name] = partial(call.run, name)
        except Exception as error:  # of kernels and packages: its row says what
            reason = choice.refused.get(name) or f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            yield Row(BENCH, f"{what}: {name}", "TFLOP/s", COMMAND, (), {"backend": name}, failure=reason)
    times = in_turns(ways, ROUNDS, on)
    for name, seconds in times.items():
        rates = tuple(1e-12 * flops / s for s in seconds)
        details = call.details() | {"backend": name, "of matmul": 1e12 * statistics.median(rates) / ceiling}
        yield Row(BENCH, f"{what}: {name}", "TFLOP/s", COMMAND, rates, details)
    what = f"{what}: chosen above the fastest"
    if choice.backend not in times:
        yield Row(
            BENCH, what, "%", COMMAND, (), {"provider": "avctl"}, f"{choice.backend} is chosen, and was not timed"
        )
        return
    best = min(times, key=lambda name: statistics.median(times[name]))
    above = tuple(100 * (a / b - 1) for a, b in zip(times[choice.backend], times[best], strict=True))
    details = call.details() | {"provider": "avctl", "best": best, "milliseconds": dict(choice.milliseconds)}
    yield Row(BENCH, what, "%", COMMAND, above, details)


class Call:
    """Attention of random numbers in the format of the device, by a backend or by the one that is chosen."""

    def __init__(self, setting: Setting, on: Device, is_trained: bool):
        self.setting, self.on, self.is_trained = setting, on, is_trained
        self.where = segments(torch.tensor(setting.lengths)).to(on.torch)
        shape = sum(setting.lengths), 3, setting.heads, setting.width
        self.qkv = torch.randn(shape, device=on.torch).to(on.dtype)
        self.upstream = torch.randn_like(self.qkv[:, 0])

    def run(self, backend: str | None = None) -> None:
        with torch.set_grad_enabled(self.is_trained):
            q, k, v = (x.detach().requires_grad_(self.is_trained) for x in self.qkv.unbind(1))
            out = attention(q, k, v, self.where, backend=backend)
        if self.is_trained:
            torch.autograd.grad(out, (q, k, v), self.upstream)

    @cached_property
    def choice(self) -> Choice:
        """What runs if nobody is asked for."""
        use("auto")
        self.run()
        (choice,) = chosen().values()
        return choice

    def flops(self) -> float:
        forward = attention_flops(self.where, None, self.setting.heads, self.setting.width)
        return forward * (1 + BACKWARD * self.is_trained)

    def details(self) -> dict[str, Any]:
        shape = {"tokens": sum(self.setting.lengths), "heads": self.setting.heads, "width": self.setting.width}
        device = {"dtype": str(self.on.dtype).removeprefix("torch."), **identity(self.on), **state(self.on)}
        return {"backend": self.choice.backend, "chosen": self.choice.reason, **shape, **device}


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
