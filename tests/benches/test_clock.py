"""A call's time is that of a lap, divided by the calls in it."""

from __future__ import annotations

import time

import pytest
import torch

from benches.clock import in_turns, measure
from benches.device import Device

HERE = Device(torch.device("cpu"), torch.float32, 2**20)


def test_a_lap_warms_up_and_is_run_until_there_is_something_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    now, laps = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def lap(seconds: float) -> None:
        laps.append(seconds)
        now[0] += seconds

    assert measure(lambda: lap(0.004), 8, HERE) == (pytest.approx(0.0005), "clock", None)
    assert len(laps) == 2 + 12  # one warms up, one tells how many
    laps.clear()
    assert measure(lambda: lap(3.0), 2, HERE).seconds == pytest.approx(1.5) and len(laps) == 2


def test_ways_take_turns_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now, called = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def way(name: str, seconds: float) -> None:
        called.append(name)
        now[0] += seconds

    ways = {"a": lambda: way("a", 2.0), "b": lambda: way("b", 3.0)}
    assert in_turns(ways, 3, HERE) == {"a": [2.0] * 3, "b": [3.0] * 3}
    assert called == list("aabb" + "bbaa" + "aabb")  # each warms up first


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU answers")
def test_short_calls_are_replayed_as_a_graph() -> None:
    on = HERE._replace(torch=torch.device("cuda", 0))
    with on.stream():
        x = torch.randn(1_000, device="cuda", requires_grad=True)
        y = x.sin()
        upstream = torch.ones_like(y)
        backward = measure(lambda: torch.autograd.grad(y, x, upstream, retain_graph=True), 1, on)
    assert backward.timing == "graph" and backward.note is None and 0 < backward.seconds < 1e-3
