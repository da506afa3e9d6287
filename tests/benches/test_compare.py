"""Figures are compared only where they are of the same thing, and what got slower is told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benches import compare as module
from benches.compare import alternate, changes, compare

FIGURE: dict[str, Any] = {
    "bench": "norm", "what": "forward", "unit": "us", "values": [100.0, 101.0, 102.0], "device": "H200", "driver": "1",
    "versions": {"torch": "2.11.0"}, "dtype": "bfloat16", "rows": 8, "width": 4, "providers": ["avctl", "eager"],
    "timing": "graph", "commit": "a", "failure": None,
}  # fmt: skip
KEY = ("norm", "forward", "us")


def verdict(*, unit: str = "us", **after: Any) -> tuple[str, str]:
    before = {**FIGURE, "unit": unit}
    (change,) = changes({(*KEY[:2], unit): [before]}, {(*KEY[:2], unit): [before | after]})
    return change.verdict, change.reason


@pytest.mark.parametrize(
    ("unit", "values", "expected"),
    [
        ("us", [107.0, 107.5, 108.0], "same"),
        ("us", [110.0, 111.0, 112.0], "worse"),
        ("us", [90.0, 91.0, 92.0], "better"),
        ("us", [80.0, 111.0, 112.0, 90.0], "same"),  # the middle halves overlap
        ("GB/s", [110.0, 111.0, 112.0], "better"),
        ("GB/s", [90.0, 91.0, 92.0], "worse"),
        ("MB", [110.0, 111.0, 112.0], "worse"),
    ],
)
def test_eight_in_a_hundred_and_not_the_spread_make_a_change(unit: str, values: list[float], expected: str) -> None:
    assert verdict(unit=unit, values=values, commit="b", time=7) == (expected, "")


def test_what_a_clock_cannot_tell_is_no_change() -> None:
    short = FIGURE | {"values": [2.0, 2.0, 2.0]}
    (change,) = changes({KEY: [short]}, {KEY: [short | {"values": [2.9, 2.9, 2.9]}]})
    assert change.verdict == "same"


def test_the_last_five_runs_of_the_same_count_together() -> None:
    runs = [FIGURE | {"values": [value] * 3} for value in (500.0, 100.0, 100.0, 100.0, 140.0, 140.0)]
    other = FIGURE | {"values": [999.0], "device": "A100"}
    failed = FIGURE | {"values": [], "failure": "is not exact"}
    (change,) = changes({KEY: [*runs, other, failed]}, {KEY: [FIGURE]})
    assert (change.verdict, change.before, change.after) == ("same", 100.0, 101.0)
    (change,) = changes({KEY: [*runs, other]}, {KEY: [other]})
    assert (change.verdict, change.before) == ("same", 999.0)


def test_a_run_of_several_that_failed_is_not_passed_over() -> None:
    failed = FIGURE | {"values": [], "failure": "is not exact"}
    (change,) = changes({KEY: [FIGURE]}, {KEY: [failed, FIGURE]})
    assert (change.verdict, change.reason) == ("refused", "is not exact")


def test_what_was_measured_of_uncommitted_changes_says_so() -> None:
    dirty = FIGURE | {"is_dirty": True}
    told = [
        change
        for sides in ((FIGURE, dirty), (dirty, dirty))
        for change in changes({KEY: [sides[0]]}, {KEY: [sides[1]]})
    ]
    assert [change.verdict for change in told] == ["same", "same"]
    assert [change.reason for change in told] == ["uncommitted changes after", "uncommitted changes before and after"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device", "A100"),
        ("driver", "2"),
        ("versions", {"torch": "2.12.0"}),
        ("dtype", "float32"),
        ("rows", 16),
        ("tokens", 4_096),
        ("heads", 16),
        ("density", 0.25),
        ("flops", 7),
        ("providers", ["avctl"]),
        ("timing", "events"),
    ],
)
def test_figures_of_different_things_are_refused_and_the_difference_is_named(name: str, value: Any) -> None:
    assert verdict(**{name: value}) == ("refused", f"{name} {FIGURE.get(name)} and {value}")


def test_figures_of_one_side_alone_are_refused_and_so_is_one_that_failed() -> None:
    other = ("norm", "backward", "us")
    missing = {change.key: change.reason for change in changes({KEY: [FIGURE]}, {other: [FIGURE]})}
    assert missing == {KEY: "is missing after", other: "is missing before"}
    failed = {"values": [], "failure": "is not exact"}
    assert verdict(**failed) == ("refused", "is not exact")
    (change,) = changes({KEY: [FIGURE | failed]}, {KEY: [FIGURE | failed]})
    assert (change.verdict, change.reason) == ("same", "is not exact")


def test_the_command_leaves_with_1_unless_everything_is_the_same_or_better(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl", "empty.jsonl")]
    slower = FIGURE | {"values": [150.0, 151.0, 152.0]}
    for file, figures in zip(files, ([FIGURE, FIGURE], [slower, FIGURE], [slower], []), strict=True):
        file.write_text("".join(json.dumps(figure) + "\n" for figure in figures))  # of the second the last run counts
    codes = {}
    for file in files[1:]:
        done = CliRunner().invoke(compare, [str(files[0]), str(file)])
        codes[file.stem] = (done.exit_code, done.output.splitlines()[-1])
    assert codes == {
        "b": (0, "0 better, 1 same, 0 worse, 0 refused"),
        "c": (1, "0 better, 0 same, 1 worse, 0 refused"),
        "empty": (1, "0 better, 0 same, 0 worse, 1 refused"),
    }


BENCH = """
import json, pathlib, sys
from benches import figure
pathlib.Path({log!r}).open("a").write(figure.NAME + " ")
assert sys.argv[1:3] == ["norm", "--json"]
print(json.dumps({figure!r} | {{"values": figure.VALUES}}), file=open(sys.argv[3], "a"))
"""


def test_a_commit_and_the_tree_are_measured_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    root, log = tmp_path / "root", tmp_path / "log"
    (root / "benches").mkdir(parents=True)
    (root / "benches" / "__init__.py").touch()
    (root / "benches" / "__main__.py").write_text(BENCH.format(log=str(log), figure=FIGURE))
    (root / "benches" / "figure.py").write_text("NAME, VALUES = 'base', [100.0, 101.0]")
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "One"]):
        subprocess.run([*git, *words], check=True)
    (root / "benches" / "figure.py").write_text("NAME, VALUES = 'tree', [200.0, 201.0]")
    monkeypatch.setattr(module, "ROOT", root)
    with pytest.raises(SystemExit) as left:
        alternate("HEAD", ["norm"])
    assert left.value.code == 1 and log.read_text() == "base tree tree base "
    told = capsys.readouterr().out
    assert "+99.5 %" in told and "1 worse" in told
    trees = subprocess.run([*git, "worktree", "list"], check=True, capture_output=True, text=True).stdout
    assert len(trees.splitlines()) == 1
    (root / "benches" / "figure.py").write_text("raise ValueError('broken here')")
    with pytest.raises(module.click.ClickException, match="broken here"):
        alternate("HEAD", ["norm"])
    with pytest.raises(module.click.ClickException, match="no-such-commit"):
        alternate("no-such-commit", ["norm"])
