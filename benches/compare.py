"""Figures of two commits side by side: what got better, what got worse, and what cannot be compared.

A figure has changed if its median moved by more than 8 %, by more than what its unit cannot resolve, and out of the
middle half of the other's values. Before, a file may hold many runs of a figure: the last five that are of the same
count together. Figures of different devices, versions, shapes, formats, providers or clocks are refused, whatever they
say. What was measured of a tree with changes that no commit has is compared, and said to be.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
IDENTITY = (
    "processor", "cores", "threads", "device", "driver", "cuda", "versions", "packages",
    "dtype", "rows", "width", "tokens", "clips", "longest", "heads", "density", "floor_bytes", "floor_flops", "flops",
    "calls", "providers", "backend", "timing",
)  # fmt: skip
HISTORY = 5  # runs
RELATIVE = 0.08
ABSOLUTE = {"us": 1.0, "ms": 0.01, "s": 0.005}  # in the unit; others have none
RATES = ("/s", "a second", "times", "h of video", "dB")  # what units are made of of which more is better

Verdict = Literal["same", "better", "worse", "refused"]
Figure = dict[str, Any]  # a line of results
Key = tuple[str, str, str]  # bench, what, unit


class Change(NamedTuple):
    """A figure in both files. Why it is refused, or medians before and after."""

    key: Key
    verdict: Verdict
    before: float | None
    after: float | None
    reason: str = ""


@click.command()
@click.argument("before", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("after", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def compare(before: Path, after: Path) -> None:
    """Compare the last run of AFTER with the last five of BEFORE; leave with 1 where one got worse or was refused."""
    newest = {key: [runs[-1]] for key, runs in _figures([after]).items()}
    _conclude(list(changes(_figures([before]), newest)))


def alternate(base: str, names: Sequence[str]) -> None:
    """Run benches at another commit and as they are here, each twice, in turns; then compare.

    ClickException where the commit does not exist, or has no such bench.
    """
    with TemporaryDirectory() as scratch:
        tree = Path(scratch) / "base"
        _git("worktree", "add", "--detach", str(tree), base)
        try:
            files: dict[Path, list[Path]] = {tree: [], ROOT: []}
            for number, side in enumerate((tree, ROOT, ROOT, tree)):
                files[side].append(Path(scratch) / f"{number}.jsonl")
                _measure(side, names, files[side][-1])
        finally:
            _git("worktree", "remove", "--force", str(tree))
        _conclude(list(changes(_figures(files[tree]), _figures(files[ROOT]))))


def changes(before: Mapping[Key, Sequence[Figure]], after: Mapping[Key, Sequence[Figure]]) -> Iterator[Change]:
    """Of all figures, each with its runs, in the order of `before`; those that only `after` has come last."""
    for key in dict.fromkeys([*before, *after]):
        if key not in before or key not in after:
            yield Change(key, "refused", None, None, f"is missing {'before' if key not in before else 'after'}")
            continue
        yield _change(key, before[key], after[key])


def _change(key: Key, earlier: Sequence[Figure], later: Sequence[Figure]) -> Change:
    like = later[-1]
    known, after = _alike(earlier, like), _alike(later, like)
    if not known:
        last = earlier[-1]
        differing = (f"{name} {last.get(name)} and {like.get(name)}" for name in IDENTITY if _differ(last, like, name))
        reasons = filter(None, (like.get("failure"), *differing))
        return Change(key, "refused", _median(earlier[-1:]), _median(after), "; ".join(reasons))
    before = [run for run in known if run["values"]][-HISTORY:] or known[-1:]
    old, new, dirty = _median(before), _median(after), _dirty(before, after)
    if old is None or new is None:
        reasons = dict.fromkeys(run.get("failure") for run in (*before, *after) if not run["values"])
        is_known = old is None and new is None and len(reasons) == 1
        return Change(key, "same" if is_known else "refused", old, new, "; ".join(filter(None, (*reasons, dirty))))
    moved = abs(new - old) > max(RELATIVE * old, ABSOLUTE.get(key[2], 0.0))
    if not moved or _overlap(_values(before), _values(after)):
        return Change(key, "same", old, new, dirty)
    is_better = (new > old) == any(part in key[2] for part in RATES)
    return Change(key, "better" if is_better else "worse", old, new, dirty)


def _alike(runs: Sequence[Figure], like: Figure) -> list[Figure]:
    """Those of the same thing."""
    return [run for run in runs if not any(_differ(run, like, name) for name in IDENTITY)]


def _differ(a: Figure, b: Figure, name: str) -> bool:
    return a.get(name) != b.get(name)


def _values(runs: Sequence[Figure]) -> list[float]:
    return [value for run in runs for value in run["values"]]


def _median(runs: Sequence[Figure]) -> float | None:
    """Of all their values together; none where a run has none."""
    return statistics.median(_values(runs)) if all(run["values"] for run in runs) else None


def _dirty(before: Sequence[Figure], after: Sequence[Figure]) -> str:
    """Which sides are of no commit."""
    sides = {"before": before, "after": after}
    dirty = [name for name, runs in sides.items() if any(run.get("is_dirty") for run in runs)]
    return f"uncommitted changes {' and '.join(dirty)}" if dirty else ""


def _overlap(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the middle halves of both have values in common; of single values nothing is known."""
    if len(before) < 2 or len(after) < 2:
        return False
    (low, _, high), (least, _, most) = (statistics.quantiles(each, method="inclusive") for each in (before, after))
    return low <= most and least <= high


def _figures(files: Sequence[Path]) -> dict[Key, list[Figure]]:
    """The runs of every figure, the newest last, as files are appended to."""
    found: dict[Key, list[Figure]] = defaultdict(list)
    for row in (json.loads(line) for file in files for line in file.read_text().splitlines()):
        found[row["bench"], row["what"], row["unit"]].append(row)
    return found


def _measure(tree: Path, names: Sequence[str], file: Path) -> None:
    """In a process of its own, which imports that tree."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "benches", *names, "--json", str(file)]
    done = subprocess.run(
        command, cwd=tree, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise click.ClickException(f"`python -m benches {' '.join(names)}` in {tree.name}: {done.stderr[-2_000:]}")


def _git(*words: str) -> None:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"git {words[0]} {words[1]}: {done.stderr.strip()}")


def _conclude(made: Sequence[Change]) -> None:
    """Print all changes, and leave with 1 unless everything is the same or better."""
    table = Table("bench", "what", "unit", "before", "after", "change", "")
    for (bench, what, unit), verdict, before, after, reason in made:
        ratio = f"{100 * (after / before - 1):+.1f} %" if before and after else ""
        medians = ("-" if value is None else f"{value:.4g}" for value in (before, after))
        table.add_row(bench, what, unit, *medians, ratio, f"{verdict}: {reason}" if reason else verdict)
    Console(width=160).print(table)
    counted = {
        verdict: sum(change.verdict == verdict for change in made) for verdict in ("better", "same", "worse", "refused")
    }
    print(", ".join(f"{count} {verdict}" for verdict, count in counted.items()))
    sys.exit(bool(counted["worse"] or counted["refused"] or not made))
