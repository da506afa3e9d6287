"""What a run measured of kernels, made of its rows alone: a Markdown table, and a picture with its ceiling."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from avctl.kernels.cases import CASES
from benches import kernels
from benches.roofline import roofline

Figure = dict[str, Any]  # a line of results


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the picture there.")
def report(file: Path, svg: Path | None) -> None:
    """The table of the newest run in FILE."""
    rows = newest_run(file)
    print(markdown(rows))
    if svg:
        svg.write_text(roofline(rows))


def newest_run(file: Path) -> list[Figure]:
    """Rows of kernels, and of the ceilings that were measured for them. ClickException where the file has none."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    ceilings = [row for row in rows if row["bench"] == "ceilings" and row["command"] == kernels.COMMAND]
    newest = max((row["time"] for row in ceilings), default=None)
    found = [row for row in rows if row["time"] == newest and row["bench"] in CASES]
    if not found:
        raise click.ClickException(f"{file} has no run of kernels")
    return [row for row in ceilings if row["time"] == newest][-2:] + found  # a copy, a matrix product


def markdown(rows: Sequence[Figure]) -> str:
    """A line for every operation, size and pass; below, who was not timed, and why."""
    ceilings = {row["what"]: row for row in rows if row["bench"] == "ceilings"}
    copy, matmul = ceilings["copy"], ceilings["matmul"]
    reached = f"copy {copy['median']:.4g} GB/s, matmul {matmul['median']:.4g} TFLOP/s"
    about = [
        f"{copy['device']} ({copy['processor']}, {copy['cores']} cores)",
        f"commit {(copy['commit'] or 'unknown')[:10]}",
    ]
    about += [f"driver {copy['driver']}"] if copy.get("driver") else []
    about += [f"{name} {version}" for name, version in copy["packages"].items()]
    peers = list(dict.fromkeys(row["provider"] for row in rows if row.get("provider", "avctl") != "avctl"))
    head = ["operation", "rows x width", "pass", "floor us", "avctl us", "of ceiling", *peers, "best peer / avctl"]
    lines = [
        f"{', '.join(about)}. In {copy['dtype']}: {reached}.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *_lines(rows, peers),
        "",
        *(f"- not timed: {row['bench']}, {row['what']}: {row['failure']}" for row in rows if row["failure"]),
    ]
    return "\n".join(lines).rstrip()


def _lines(rows: Iterable[Figure], peers: Iterable[str]) -> Iterator[str]:
    races: dict[tuple, dict[str, Figure]] = {}
    for row in rows:
        if "pass" in row:
            races.setdefault((row["bench"], row["rows"], row["width"], row["pass"]), {})[row["provider"]] = row
    for (bench, num_rows, width, name), by_provider in races.items():
        own, any_row = by_provider.get("avctl"), next(iter(by_provider.values()))
        cells = [bench, f"{num_rows:,} x {width:,}", name, _number(any_row["floor_us"])]
        cells += [_spread(own), f"{own['of_ceiling']:.2f}"] if own else ["-", "-"]
        others = (by_provider.get(provider) for provider in peers)
        cells += [_number(row["median"]) if row else "-" for row in others]
        cells.append(f"{own['to_best_peer']:.2f}" if own and own["to_best_peer"] else "-")
        yield f"| {' | '.join(cells)} |"


def _spread(row: Figure) -> str:
    median, low, high = (_number(row[name]) for name in ("median", "quarter", "three_quarters"))
    return f"**{median}** ({low} to {high})"


def _number(value: float) -> str:
    """Three digits, and no power of ten."""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
