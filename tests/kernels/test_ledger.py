"""The ledger that is kept is that of the kernels as they are, and every change for the worse is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from triton.runtime.jit import JITFunction

from avctl.kernels import ledger as module
from avctl.kernels.cases import CASES
from avctl.kernels.ledger import CEILINGS, FILE, ledger, main, problems
from avctl.kernels.record import launches, modules

KERNEL = "norm_modulate backward: norm_modulate._backward"
ATTENTION = "av_window_attention forward: av_window_attention._forward"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """Everything compiled, as JSON has it."""
    return json.loads(json.dumps(ledger()))


def test_no_kernel_is_worse_than_the_ledger_says(made: dict[str, Any]) -> None:
    assert list(problems(made, json.loads(FILE.read_text()))) == []


def test_every_kernel_of_the_package_is_launched_by_a_case() -> None:
    for path in Path(module.__file__).parent.glob("*.py"):
        import_module(f"avctl.kernels.{path.stem}")
    reached = {launch.kernel for case in CASES.values() for each in launches(case).values() for launch in each}
    todo = list(reached)
    while todo:
        function = todo.pop().fn
        called = {function.__globals__.get(name) for name in function.__code__.co_names}
        todo += [other for other in called - reached if isinstance(other, JITFunction)]
        reached |= set(todo)
    there = {value for each in modules() for value in vars(each).values() if isinstance(value, JITFunction)}
    assert [kernel for kernel in there - reached if kernel.__name__.startswith("_")] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda kernel: kernel["sm_90"].update(spills=2), "sm_90: 2 spills"),
        (lambda kernel: kernel["sm_80"].update(registers=250), "sm_80: 250 registers, the ledger says 1"),
        (lambda kernel: kernel["sm_100"].update(stack=8), "sm_100: 8 stack, the ledger says 0"),
        (lambda kernel: kernel["sm_90"]["loads"].update({"128": 1}), "sm_90: loads {'128': 1"),
        (lambda kernel: kernel["sm_90"].update(stores={"64": 100}), "sm_90: stores {'64': 100}"),
        (lambda kernel: kernel.update(grid=[7]), "grid: [7], the ledger says"),
        (lambda kernel: kernel["parameters"].update(x_stride="i32"), "parameters: "),
        (lambda kernel: kernel.pop("sm_90"), "sm_90: None, the ledger says {"),
    ],
)
def test_what_gets_worse_is_told(change: Callable[[dict[str, Any]], object], words: str, made: dict[str, Any]) -> None:
    worse = deepcopy(made)
    change(worse["kernels"][KERNEL])
    (told,) = problems(worse, made)
    assert told.startswith(f"{KERNEL}, {words}")


@pytest.mark.parametrize("products", [{}, {"HMMA": 1_000}, {"HGMMA": 1, "HMMA": 1_000}])
def test_products_that_are_lost_are_told_however_many_there_are_of_another_kind(
    products: dict[str, int], made: dict[str, Any]
) -> None:
    worse = deepcopy(made)
    assert list(worse["kernels"][ATTENTION]["sm_90"]["products"]) == ["HGMMA"]
    worse["kernels"][ATTENTION]["sm_90"]["products"] = products
    (told,) = problems(worse, made)
    assert told.startswith(f"{ATTENTION}, sm_90: products {products} by instruction, the ledger says {{'HGMMA': ")


def test_no_kernel_spills_at_any_size_of_the_ledger(made: dict[str, Any]) -> None:
    for each in made["kernels"].values():
        assert all(each[f"sm_{arch}"]["spills"] == each[f"sm_{arch}"]["stack"] == 0 for arch in CEILINGS)


def test_what_is_compiled_alike_is_in_the_ledger_once_a_case_and_pass(made: dict[str, Any]) -> None:
    compiled = [
        (key.partition(",")[0], each["parameters"], each["constants"], each["options"])
        for key, each in made["kernels"].items()
    ]
    assert all(each not in compiled[:place] for place, each in enumerate(compiled))
    assert f"{KERNEL}, 1024 wide" in made["kernels"]


def test_kernels_that_are_new_and_kernels_that_are_gone_are_told(made: dict[str, Any]) -> None:
    fewer = {**made, "kernels": {key: row for key, row in made["kernels"].items() if key != KERNEL}}
    assert list(problems(made, fewer)) == [f"{KERNEL}: not in the ledger"]
    assert list(problems(fewer, made)) == [f"{KERNEL}: in the ledger, and no longer launched"]
    others = {**made, "operations": {}}
    assert [told.partition(":")[0] for told in problems(made, others)] == ["operations"]


def test_a_kernel_that_got_better_is_no_problem(made: dict[str, Any]) -> None:
    better = deepcopy(made)
    better["kernels"][KERNEL]["sm_90"].update(registers=10, loads={"128": 40, "32": 1})
    assert list(problems(better, made)) == []


def test_the_command_writes_the_ledger_and_checks_it(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE", tmp_path / "ledger.json")
    monkeypatch.setattr(module, "CASES", {})
    assert CliRunner().invoke(main, []).exit_code == 0
    assert CliRunner().invoke(main, ["--check"]).exit_code == 0
    (tmp_path / "ledger.json").write_text(json.dumps(made))
    checked = CliRunner().invoke(main, ["--check"])
    assert checked.exit_code == 1 and f"{KERNEL}: in the ledger, and no longer launched" in checked.output
