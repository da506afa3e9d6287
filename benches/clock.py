"""How long one call takes, of many calls in a lap: each of a lap has its own inputs, so that no cache holds them.

On a GPU a lap of short calls is captured once and replayed as a graph: what is measured is the GPU, not Python.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch

from benches.device import Device

GRAPH_BELOW_S = 1e-3  # a call, as Python issues it: whatever takes a GPU less than 0.1 ms is among them
LONGEST_S = {"cuda": 0.02, "cpu": 0.05}  # of one measurement, unless a single lap takes longer

Timing = Literal["clock", "events", "graph"]


class Measured(NamedTuple):
    """Seconds a call, and what measured them. `note` says why there is no graph where there should be one."""

    seconds: float
    timing: Timing
    note: str | None = None


def measure(lap: Callable[[], object], calls: int, device: Device) -> Measured:
    """Time a lap of so many calls, after one that warms up, on PyTorch's current stream: see `Device.stream`."""
    lap()
    once = _seconds(lap, 1, device)
    timing, note = ("events" if device.is_gpu else "clock"), None
    if device.is_gpu and once / calls < GRAPH_BELOW_S:
        try:
            lap, timing = _captured(lap), "graph"
        except RuntimeError as error:  # something in it waits for the GPU, or is not PyTorch's
            torch.cuda.synchronize()
            note = f"no graph: {str(error).splitlines()[0]}"
        else:
            lap()
            once = _seconds(lap, 1, device)
    repeats = min(1_000, int(LONGEST_S[device.torch.type] / max(once, 1e-7)))
    if repeats < 2:
        return Measured(once / calls, timing, note)
    return Measured(_seconds(lap, repeats, device) / repeats / calls, timing, note)


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int, device: Device) -> dict[str, list[float]]:
    """Seconds of each way in every round; the next round goes through them the other way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in ways if number % 2 == 0 else reversed([*ways]):
            seconds[name].append(measure(ways[name], 1, device).seconds)
    return seconds


def _seconds(lap: Callable[[], object], repeats: int, device: Device) -> float:
    """Of all repeats together."""
    if not device.is_gpu:
        start = time.perf_counter()
        for _ in range(repeats):
            lap()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(repeats):
        lap()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def _captured(lap: Callable[[], object]) -> Callable[[], object]:
    """On the current stream, where forward ran: backward would run nowhere else."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    graph.capture_begin()
    try:
        lap()
    finally:
        graph.capture_end()
    return graph.replay
