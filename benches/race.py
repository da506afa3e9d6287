"""One case at one size: everybody is checked against float64, then timed in turns.

A round makes fresh random inputs, more than four times as many as the cache holds, and times forward, backward and both
of everybody on them; the next round goes through the providers the other way. Who is not exact is not timed.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from avctl.kernels.cases import Case, Draw, Inputs, Outputs, Work
from avctl.kernels.exact import judge
from benches.clock import calls_of, measure
from benches.device import Device
from benches.frame import Row, failure
from benches.providers import Absent, Provider, providers

ROUNDS = 6


class Ceilings(NamedTuple):
    """Of the same run."""

    bytes_s: float
    flops_s: float

    def seconds(self, work: Work) -> float:
        """What the work takes at least."""
        return max(work.bytes / self.bytes_s, work.flops / self.flops_s)


Values = dict[str, list[float]]  # seconds of a call, by pass


class Lane(NamedTuple):
    """A provider that takes part, with what was measured."""

    provider: Provider
    values: Values
    notes: dict[str, Any]


def race(
    case: Case,
    rows: int,
    width: int,
    device: Device,
    ceilings: Ceilings,
    about: Mapping[str, Any],
    who: Callable[[Case, Inputs], Iterable[Provider | Absent]] = providers,
) -> Iterator[Row]:
    """Rows of all providers and passes, and one with the reason for everybody who is not timed.

    What is known `about` the device goes into all of them.
    """
    first = case.make(rows, width, Draw(device.dtype, device.torch, seed=0))
    one = sum(x.numel() * x.itemsize for x in first.all_tensors())
    calls = calls_of(one, device)
    lanes, refused = _admitted(case, first, who(case, first))
    is_trained = "backward" in case.passes()
    with torch.no_grad():
        like = _outputs(case.reference, first)
    for number in range(ROUNDS):
        seeds = range(1 + number * calls, 1 + (number + 1) * calls)
        inputs = [case.make(rows, width, Draw(device.dtype, device.torch, seed)) for seed in seeds]
        upstream = _upstream(like, calls) if is_trained else []
        for lane in lanes if number % 2 == 0 else lanes[::-1]:
            for name in _floors(case, rows, width, 1):
                _time(lane, name, inputs, upstream, device)
    names = [lane.provider.name for lane in lanes]
    shape = {"rows": rows, "width": width, "dtype": str(device.dtype).removeprefix("torch."), "calls": calls}
    common = {**about, **shape, "size": device.dtype.itemsize, "providers": names}
    yield from _rows(case, lanes, ceilings, common)
    for absent in refused:
        details = {**common, "provider": absent.name}
        yield Row(case.name, f"{rows} x {width}: {absent.name}", "us", command(case), (), details, absent.reason)


def _admitted(case: Case, inputs: Inputs, everybody: Iterable[Provider | Absent]) -> tuple[list[Lane], list[Absent]]:
    """Who is as exact as eager, and who is not, or is not here."""
    lanes, refused = [], []
    for provider in everybody:
        reason = provider.reason if isinstance(provider, Absent) else _refusal(provider, case, inputs)
        if reason:
            refused.append(Absent(provider.name, reason))
        elif isinstance(provider, Provider):
            lanes.append(Lane(provider, defaultdict(list), {}))
    return lanes, refused


def _refusal(provider: Provider, case: Case, inputs: Inputs) -> str | None:
    """Why a provider is not timed."""
    try:
        own = provider.prepare(inputs)
        leave_nan_behind(inputs.tensors)
        errors = judge(
            lambda *tensors: provider.operation(*tensors, *own.rest),
            lambda *tensors: case.reference(*tensors, *inputs.rest),
            inputs.tensors,
            own=own.tensors,
            is_trained="backward" in case.passes(),
        )
    except Exception as error:  # another library may raise anything; that is what its row says
        return f"does not run: {failure(error)}"
    if not errors.are_allowed:
        found, allowed = (" ".join(f"{error:.2g}" for error in each) for each in errors)
        return f"is not exact: errors {found}, allowed {allowed}"
    return None


def leave_nan_behind(tensors: Sequence[Tensor]) -> None:
    """What is allocated next is likely to be memory full of NaN: a number that nobody writes is not right by chance."""
    poison = [torch.full_like(x, torch.nan) for x in tensors for _ in range(2)]
    del poison


def _outputs(operation: Callable[..., Outputs], inputs: Inputs) -> list[Tensor]:
    outputs = operation(*inputs.tensors, *inputs.rest)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _upstream(like: Sequence[Tensor], calls: int) -> list[tuple[Tensor, ...]]:
    """Random gradients of the outputs of every call."""
    drawn = [torch.randn((calls, *y.shape), device=y.device).to(y.dtype).unbind() for y in like]
    return list(zip(*drawn, strict=True))


def _time(
    lane: Lane, name: str, inputs: Sequence[Inputs], upstream: Sequence[tuple[Tensor, ...]], device: Device
) -> None:
    """One more value of a pass."""
    lap = _lap(lane.provider, name, [lane.provider.prepare(each) for each in inputs], upstream)
    measured = measure(lap, len(inputs), device)
    lane.values[name].append(measured.seconds)
    lane.notes[name] = {"timing": measured.timing} | ({"note": measured.note} if measured.note else {})


def _lap(
    provider: Provider, name: str, inputs: Sequence[Inputs], upstream: Sequence[tuple[Tensor, ...]]
) -> Callable[[], object]:
    """A pass on all inputs; without gradients upstream nothing is trained. What it makes is kept until all are
    through: outputs go round in memory as inputs do."""
    is_trained = bool(upstream)
    given = [Inputs(tuple(x.detach().requires_grad_(is_trained) for x in each.tensors), each.rest) for each in inputs]
    if name == "forward":
        return lambda: [_outputs(provider.operation, each) for each in given]
    if name == "both":
        return lambda: [
            torch.autograd.grad(_outputs(provider.operation, each), each.tensors, up)
            for each, up in zip(given, upstream, strict=True)
        ]
    made = [_outputs(provider.operation, each) for each in given]
    return lambda: [
        torch.autograd.grad(outputs, each.tensors, up, retain_graph=True)
        for each, outputs, up in zip(given, made, upstream, strict=True)
    ]


def _rows(case: Case, lanes: Sequence[Lane], ceilings: Ceilings, common: Mapping[str, Any]) -> Iterator[Row]:
    """Microseconds of every provider and pass, beside the floor and the best of the others."""
    floors = _floors(case, common["rows"], common["width"], common["size"])
    for name, work in floors.items():
        medians = {lane.provider.name: statistics.median(lane.values[name]) for lane in lanes}
        for lane in lanes:
            own = lane.provider.name
            others = [seconds for other, seconds in medians.items() if other != own]
            details = {
                **common,
                "provider": own,
                "backend": lane.provider.backend,
                "pass": name,
                "floor_bytes": work.bytes,
                "floor_flops": work.flops,
                "floor_us": 1e6 * ceilings.seconds(work),
                "of_ceiling": ceilings.seconds(work) / medians[own],
                "to_best_peer": min(others) / medians[own] if others else None,
                **lane.notes[name],
            }
            values = tuple(1e6 * seconds for seconds in lane.values[name])
            what = f"{name}, {common['rows']} x {common['width']}: {own}"
            yield Row(case.name, what, "us", command(case), values, details)


def _floors(case: Case, rows: int, width: int, size: int) -> dict[str, Work]:
    """Of every pass, and of forward and backward together."""
    floors: dict[str, Work] = {**case.floor(rows, width, size)}
    if len(floors) > 1:
        floors["both"] = Work(*(sum(each) for each in zip(*floors.values(), strict=True)))
    return floors


def command(case: Case) -> str:
    return f"python -m benches {case.name}"
