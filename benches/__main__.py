"""`python -m benches [NAME ...] [--json FILE] [--base REF]`: runs benches, and appends a JSON line a figure.

python -m benches --readme                        README's table of the figures that are kept in `results/`
python -m benches compare A.jsonl B.jsonl         what got slower or faster
python -m benches report ROWS.jsonl --svg FILE    kernels against the ceilings of their run: a table, and a picture
python -m benches gpu FOLDER                      all that needs a GPU, within eight minutes
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from avctl.kernels.cases import CASES
from benches import kernels
from benches.compare import alternate, compare
from benches.frame import Row, record
from benches.gpu import gpu
from benches.report import report
from benches.table import write_readme

BENCHES = {
    "cli": "cli.rows",
    "decode": "decode.rows",
    "store": "store.rows",
    "loader": "loader.rows",
    "preprocess": "preprocess.rows",
    "workers": "workers.rows",
    "restart": "restart.rows",
    "pipeline": "pipeline.rows",
    "shots": "shots.rows",
    "tiny": "pipeline.tiny",
    "decode_gpu": "decode_gpu.rows",
    "step": "step.rows",
    "stack": "stack.rows",
    "windows": "windows.rows",
    "attention": "attention.rows",
    "kernels": "kernels.rows",
}  # imported when they run: a machine for kernels needs no decoder
LONG = {
    "decode_gpu",
    "shots",
    "tiny",
    "step",
    "stack",
    "attention",
    "windows",
    "kernels",
    *CASES,
}  # run only if they are named
TIMED = {"stack", "windows", "attention", "kernels", *CASES}  # know when to end


class Commands(click.Group):
    """What is no command is the name of a bench, or an option of running one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args if args[:1] and args[0] in self.commands else ["run", *args])


@click.group(cls=Commands)
def main() -> None:
    """Measure."""


@main.command()
@click.argument("names", nargs=-1, type=click.Choice([*BENCHES, *CASES]))
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Append the figures to it.")
@click.option("--base", metavar="REF", help="Run them at that commit too, in turns, and compare.")
@click.option("--seconds", type=float, help="What would begin later is not run, and says so.")
@click.option("--readme", is_flag=True, help="Measure nothing; make README's table of the results that are kept.")
def run(names: tuple[str, ...], file: Path | None, base: str | None, seconds: float | None, readme: bool) -> None:
    """Measure NAMES (without any: all but the long ones)."""
    chosen = names or tuple(name for name in BENCHES if name not in LONG)
    if readme:
        if names or file or base or seconds is not None:
            raise click.UsageError("`--readme` goes alone")
        write_readme()
    elif base:
        if file or seconds is not None:
            raise click.UsageError("`--base` compares, and keeps nothing: it goes without `--json` and `--seconds`")
        alternate(base, chosen)
    elif seconds is not None and (endless := set(chosen) - TIMED):
        raise click.UsageError(f"`--seconds`: {', '.join(sorted(endless))} cannot be told when to end")
    else:
        measure(chosen, file, inf if seconds is None else time.monotonic() + seconds)


def measure(names: Sequence[str], file: Path | None, until: float) -> None:
    """Run benches one after the other, and print their figures."""
    if file:
        file = file.absolute()
        file.parent.mkdir(parents=True, exist_ok=True)
    where = record()
    table = Table("bench", "what", "median", "smallest", "largest", "runs", "unit")
    for row in rows(names, until):
        table.add_row(*_cells(row))
        if file:
            with file.open("a") as stream:
                print(row.to_json(where), file=stream)
    console = Console(width=120)
    console.print(table)
    console.print(f"{where['processor']}, {where['cores']} cores, load {where['load']} at the start")


def rows(names: Sequence[str], until: float) -> Iterator[Row]:
    """Of benches; operations of `kernels/` come last, together, so that they have the same ceilings."""
    for name in names:
        if name in BENCHES:
            module, _, function = BENCHES[name].partition(".")
            bench = getattr(import_module(f"benches.{module}"), function)
            yield from bench(until=until) if name in TIMED else bench()
    if operations := [name for name in names if name in CASES]:
        yield from kernels.rows(until=until, names=operations)


def _cells(row: Row) -> Iterator[str]:
    yield row.bench
    yield f"{row.what}: {row.failure}" if row.failure else row.what
    spread: dict[str, Any] = row.spread()
    yield from (f"{spread[name]:.3g}" if name in spread else "-" for name in ("median", "low", "high"))
    yield str(spread["runs"])
    yield row.unit


main.add_command(compare)
main.add_command(report)
main.add_command(gpu)

if __name__ == "__main__":
    main()
