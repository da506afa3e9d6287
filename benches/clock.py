"""How long one call takes, of many calls in a lap: each of a lap has its own inputs, so that no cache holds them.

On a GPU a lap of short calls is captured once and replayed as a graph: what is measured is the GPU, not Python.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch

from benches.device import Device
from benches.frame import failure

GRAPH_BELOW_S = 1e-3  # a call, as Python issues it: whatever takes a GPU less than 0.1 ms is among them
LONGEST_S = {"cuda": 0.02, "cpu": 0.05}  # of one measurement, unless a single lap takes longer
MOST_CALLS = 1_024  # of a lap

Lap = Callable[[], object]
Timing = Literal["clock", "events", "graph"]


class Measured(NamedTuple):
    """Seconds a call, and what measured them. `note` says why there is no graph where there should be one."""

    seconds: float
    timing: Timing
    note: str | None = None


class Turns(NamedTuple):
    """Seconds a call of each way in every round, and what measured all of them."""

    seconds: dict[str, list[float]]
    timings: dict[str, Timing]
    notes: set[str]

    def details(self, name: str) -> dict[str, str]:
        """For the row of a way."""
        return {"timing": self.timings[name]} | ({"note": "; ".join(sorted(self.notes))} if self.notes else {})


def calls_of(size: int, device: Device, most: int = MOST_CALLS) -> int:
    """How many inputs of so many bytes go round: together more than four times what the cache holds."""
    return min(most, max(2, 4 * device.cache // size + 1))


def measure(lap: Lap, calls: int, device: Device, *, may_replay: bool = True) -> Measured:
    """Time a lap of so many calls, after one that warms up, on PyTorch's current stream: see `Device.stream`."""
    lap()
    once = _seconds(lap, 1, device)
    timing, note = ("events" if device.is_gpu else "clock"), None
    if may_replay and device.is_gpu and once / calls < GRAPH_BELOW_S:
        try:
            lap, timing = _captured(lap), "graph"
        except RuntimeError as error:  # something in it waits for the GPU, or is not PyTorch's
            torch.cuda.synchronize()
            note = f"no graph: {failure(error)}"
        else:
            lap()
            once = _seconds(lap, 1, device)
    repeats = min(1_000, int(LONGEST_S[device.torch.type] / max(once, 1e-7)))
    if repeats < 2:
        return Measured(once / calls, timing, note)
    return Measured(_seconds(lap, repeats, device) / repeats / calls, timing, note)


def in_turns(laps: Callable[[int], Mapping[str, Lap]], calls: int, rounds: int, device: Device) -> Turns:
    """The laps of each round, of so many calls; the next round goes through them the other way.

    Where one of them cannot be replayed as a graph, none is: all are timed as Python issues them, from the first on.
    """
    turns = _turns(laps, calls, rounds, device, may_replay=True)
    if turns.notes:
        return _turns(laps, calls, rounds, device, may_replay=False)._replace(notes=turns.notes)
    return turns


def _turns(
    laps: Callable[[int], Mapping[str, Lap]], calls: int, rounds: int, device: Device, may_replay: bool
) -> Turns:
    """It ends with the round in which something cannot be replayed."""
    turns = Turns(defaultdict(list), {}, set())
    for number in range(rounds):
        ways = laps(number)
        for name in ways if number % 2 == 0 else reversed([*ways]):
            seconds, turns.timings[name], note = measure(ways[name], calls, device, may_replay=may_replay)
            turns.seconds[name].append(seconds)
            if note:
                turns.notes.add(f"{name}: {note}")
        if turns.notes:
            break
    return turns


def _seconds(lap: Lap, repeats: int, device: Device) -> float:
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


def _captured(lap: Lap) -> Lap:
    """On the current stream, where forward ran: backward would run nowhere else."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # memory of graphs that are gone comes back no other way, and not during a capture
    graph.capture_begin()
    try:
        lap()
    finally:
        graph.capture_end()
    return graph.replay
