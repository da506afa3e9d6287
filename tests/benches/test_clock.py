"""A call's time is that of a lap, divided by the calls in it."""

from __future__ import annotations

import time

import pytest
import torch

from benches.clock import Lap, calls_of, in_turns, measure
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

    def laps(number: int) -> dict[str, Lap]:
        return {"a": lambda: way(f"a{number}", 2.0), "b": lambda: way(f"b{number}", 3.0)}

    turns = in_turns(laps, 2, 3, HERE)
    assert turns.seconds == {"a": [1.0] * 3, "b": [1.5] * 3}
    assert called == ["a0", "a0", "b0", "b0", "b1", "b1", "a1", "a1", "a2", "a2", "b2", "b2"]  # each warms up first
    assert turns.details("a") == {"timing": "clock"}


def test_inputs_go_round_until_they_are_more_than_the_cache_holds_four_times() -> None:
    assert calls_of(2**20, HERE) == 5 and calls_of(2**30, HERE) == 2 and calls_of(2**20, HERE, most=3) == 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU answers")
def test_where_one_way_cannot_be_replayed_none_is() -> None:
    on = HERE._replace(torch=torch.device("cuda", 0))
    with on.stream():
        x = torch.randn(1_000, device="cuda")
        turns = in_turns(lambda number: {"fine": x.sin, "waits": lambda: x.sum().item()}, 1, 3, on)
    assert set(turns.timings.values()) == {"events"} and {len(each) for each in turns.seconds.values()} == {3}
    assert "waits: no graph" in turns.details("fine")["note"]


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
