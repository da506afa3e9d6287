"""Figures of two commits side by side: what got better, what got worse, and what cannot be compared.

A figure has changed if its median moved by more than 8 %, by more than what its unit cannot resolve, and out of the
middle half of the other's values. Figures of different devices, versions, shapes, formats, providers or clocks are
refused, whatever they say.
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
    "dtype", "rows", "width", "calls", "providers", "backend", "timing",
)  # fmt: skip
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
    """Compare the figures of two files; leave with 1 where one got worse or was refused."""
    _conclude(list(changes(_figures([before]), _figures([after]))))


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


def changes(before: Mapping[Key, Figure], after: Mapping[Key, Figure]) -> Iterator[Change]:
    """Of all figures in the order of `before`; those that only `after` has come last."""
    for key in dict.fromkeys([*before, *after]):
        if key not in before or key not in after:
            yield Change(key, "refused", None, None, f"is missing {'before' if key not in before else 'after'}")
            continue
        yield _change(key, before[key], after[key])


def _change(key: Key, before: Figure, after: Figure) -> Change:
    medians = [statistics.median(each["values"]) if each["values"] else None for each in (before, after)]
    old, new = medians
    differing = [
        f"{name} {before.get(name)} and {after.get(name)}" for name in IDENTITY if before.get(name) != after.get(name)
    ]
    if differing:
        return Change(key, "refused", old, new, "; ".join(differing))
    if old is None or new is None:
        reasons = {before.get("failure"), after.get("failure")}
        is_known = old is None and new is None and len(reasons) == 1
        return Change(key, "same" if is_known else "refused", old, new, "; ".join(filter(None, reasons)))
    if abs(new - old) <= max(RELATIVE * old, ABSOLUTE.get(key[2], 0.0)) or _overlap(before["values"], after["values"]):
        return Change(key, "same", old, new)
    is_better = (new > old) == any(part in key[2] for part in RATES)
    return Change(key, "better" if is_better else "worse", old, new)


def _overlap(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the middle halves of both have values in common; of single values nothing is known."""
    if len(before) < 2 or len(after) < 2:
        return False
    (low, _, high), (least, _, most) = (statistics.quantiles(each, method="inclusive") for each in (before, after))
    return low <= most and least <= high


def _figures(files: Sequence[Path]) -> dict[Key, Figure]:
    """The rows of files that belong together, with the values of all of them. Of one file the last run counts."""
    found: dict[Key, list[Figure]] = defaultdict(list)
    for file in files:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for key, figure in {(row["bench"], row["what"], row["unit"]): row for row in rows}.items():
            found[key].append(figure)
    return {
        key: {**each[-1], "values": [x for figure in each for x in figure["values"]]} for key, each in found.items()
    }


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
