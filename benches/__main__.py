"""`python -m benches [NAME ...] [--json FILE]`: runs benches, prints a table, and appends a JSON line a figure.

`python -m benches --readme` runs none, and makes README's table of the figures that are kept in `results/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benches import cli, decode, decode_gpu, loader, pipeline, preprocess, restart, shots, store, workers
from benches.frame import Row, record
from benches.table import write_readme

BENCHES: dict[str, Callable[[], Iterator[Row]]] = {
    "cli": cli.rows,
    "decode": decode.rows,
    "store": store.rows,
    "loader": loader.rows,
    "preprocess": preprocess.rows,
    "workers": workers.rows,
    "restart": restart.rows,
    "pipeline": pipeline.rows,
    "shots": shots.rows,
    "tiny": pipeline.tiny,
    "decode_gpu": decode_gpu.rows,
}
LONG = {"decode_gpu", "shots", "tiny"}  # run only if they are named


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHES)))
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Append the figures to it.")
@click.option("--readme", is_flag=True, help="Measure nothing; make README's table of the results that are kept.")
def main(names: tuple[str, ...], file: Path | None, readme: bool) -> None:
    """Measure NAMES (without any: all but the long ones)."""
    if readme:
        if names or file:
            raise click.UsageError("`--readme` goes alone")
        write_readme()
        return
    if file:
        file = file.absolute()
        file.parent.mkdir(parents=True, exist_ok=True)
    where = record()
    table = Table("bench", "what", "median", "smallest", "largest", "runs", "unit")
    for name in names or [name for name in BENCHES if name not in LONG]:
        for row in BENCHES[name]():
            spread = (row.median, min(row.values), max(row.values))
            table.add_row(row.bench, row.what, *(f"{value:.3g}" for value in spread), str(len(row.values)), row.unit)
            if file:
                with file.open("a") as stream:
                    print(row.to_json(where), file=stream)
    console = Console(width=120)
    console.print(table)
    console.print(f"{where['processor']}, {where['cores']} cores, load {where['load']} at the start")


if __name__ == "__main__":
    main()
