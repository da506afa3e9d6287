"""Who is not exact is not timed; who is, takes turns on inputs that are fresh and more than the cache holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from avctl.kernels.cases import CASES, Case, Inputs, Work
from benches import race as module
from benches.device import Device
from benches.frame import Row
from benches.providers import Absent, Provider
from benches.race import Ceilings, race

CASE = CASES["norm_modulate"]
HERE = Device(torch.device("cpu"), torch.float32, 2**13)
CEILINGS = Ceilings(1e9, 1e12)


def run(*who: Provider | Absent, case: Case = CASE) -> list[Row]:
    return list(race(case, 40, 16, HERE, CEILINGS, {"device": "here"}, lambda *_: who))


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUNDS", 3)


def provider(name: str, change: Callable[[Tensor], Tensor] = lambda y: y, seen: list | None = None) -> Provider:
    def operation(x: Tensor, *others) -> Tensor:
        if seen is not None:
            seen.append((name, x.data_ptr(), x.detach().clone()))
        made = CASE.reference(x, *others)
        assert isinstance(made, Tensor)
        return change(made)

    return Provider(name, "PyTorch", operation)


def refuse(y: Tensor) -> Tensor:
    raise RuntimeError("no driver\nand more")


def test_every_pass_of_who_is_exact_has_a_value_a_round_beside_its_floor_and_the_best_peer() -> None:
    rows = run(provider("one"), provider("two"))
    assert [(row.details["pass"], row.details["provider"]) for row in rows] == [
        (name, who) for name in ("forward", "backward", "both") for who in ("one", "two")
    ]
    for row in rows:
        passes = {"forward": 2, "backward": 3, "both": 5}[row.details["pass"]]
        assert len(row.values) == 3 and row.unit == "us" and row.details["providers"] == ["one", "two"]
        assert row.details["floor_bytes"] == passes * 40 * 16 * 4
        assert row.details["of_ceiling"] == pytest.approx(row.details["floor_bytes"] / 1e9 / (row.median * 1e-6))
        assert row.details["device"] == "here" and row.details["backend"] == "PyTorch"
    assert rows[0].details["to_best_peer"] == pytest.approx(rows[1].median / rows[0].median)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda y: y * 1.001, "is not exact: errors "),
        (lambda y: torch.where(y > 1, torch.nan, y), "is not exact: errors inf"),
        (lambda y: y[1:], "does not run: ValueError: (39, 16), the reference gives (40, 16)"),
        (lambda y: y / 2 + y.detach() / 2, "is not exact"),  # forward it is
        (refuse, "does not run: RuntimeError: no driver"),
    ],
)
def test_who_is_wrong_is_a_row_that_says_so_and_is_not_timed(change: Callable[[Tensor], Tensor], reason: str) -> None:
    *timed, refused = run(provider("right"), provider("wrong", change))
    assert {row.details["provider"] for row in timed} == {"right"} and len(timed) == 3
    assert refused.details["provider"] == "wrong" and refused.values == ()
    assert refused.failure and refused.failure.startswith(reason) and "\n" not in refused.failure


def test_who_is_absent_is_a_row_with_the_reason() -> None:
    (refused,) = run(Absent("liger", "has no such operation"))
    assert (refused.what, refused.failure) == ("40 x 16: liger", "has no such operation")


def test_rounds_have_fresh_inputs_larger_than_the_cache_and_go_back_and_forth() -> None:
    seen: list[tuple[str, int, Tensor]] = []
    rows = run(provider("one", seen=seen), provider("two", seen=seen))
    calls = rows[0].details["calls"]
    assert calls * 4 * (40 + 2 * 4) * 16 > 4 * HERE.cache
    timed = [each for each in seen[4:] if each[2].dtype == torch.float32]  # behind what the gate asked for
    order = [name for place, (name, *_) in enumerate(timed) if place == 0 or timed[place - 1][0] != name]
    assert order == ["one", "two", "one", "two"]  # one two, two one, one two
    starts = [x for place, (name, _, x) in enumerate(timed) if name == "one"]
    assert len({float(x.sum()) for x in starts}) == 3 * calls
    assert len({place for name, place, _ in timed[:calls]}) == calls


def test_what_has_no_gradient_is_timed_forward_alone() -> None:
    case = Case(
        "double",
        lambda rows, width, draw: Inputs((draw.normal(rows, width),)),
        lambda x: x + x,
        lambda x: 2 * x,
        lambda rows, width, size: {"forward": Work(2 * rows * width * size)},
    )
    (row,) = run(Provider("avctl", "PyTorch", case.operation), case=case)
    assert row.details["pass"] == "forward" and row.bench == "double" and row.details["to_best_peer"] is None
