"""Rows of plain data as columns of text on standard output."""

from __future__ import annotations

from typing import Any

import click

Row = dict[str, Any]


def print_table(rows: list[Row], empty: str) -> None:
    """Columns as wide as they need to be, headed by the keys of the first row; the sentence `empty` for no rows."""
    if not rows:
        click.echo(empty)
        return
    names = list(rows[0])
    table = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(names))]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def size(num_bytes: float) -> str:
    """`3.1 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1_000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1_000
    return f"{num_bytes:.3g} TB"


def _cell(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "none"
        case tuple() | list():
            return "(" + ", ".join(map(_cell, value)) + ("," if len(value) == 1 else "") + ")"
    return str(value)
