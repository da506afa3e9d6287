"""`avctl plan`: what is done, what would run, and where each value of the recipe comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from avctl.cli.options import Options, recipe_options
from avctl.cli.table import Row, print_table

if TYPE_CHECKING:
    from avctl.cli.resolve import Resolved


@click.command()
@recipe_options
@click.option("--like", metavar="OTHER", help="Show what differs from this recipe, and what they share.")
def plan(recipe: str, options: Options, like: str | None) -> None:
    """Show what of RECIPE is done, what would run, and each value's origin."""
    from dataclasses import replace

    from avctl.cli.resolve import resolve

    resolved = resolve(recipe, options)
    other = resolve(like, replace(options, overrides=(), given=())) if like else None
    steps = _steps(resolved, other)
    values = _differences(resolved, other) if other else _values(resolved)
    if options.as_json:
        click.echo(json.dumps({"recipe": resolved.recipe.name, "like": like, "steps": steps, "values": values}))
        return
    print_table(steps, "nothing to make")
    click.echo()
    print_table(values, "no difference")


def _steps(resolved: Resolved, other: Resolved | None) -> list[Row]:
    """One row an artifact, the codec's own first."""
    shared = {(step.stage.name, step.fingerprint) for step in other.steps} if other else set()
    rows = []
    for step in resolved.steps:
        state = resolved.store.status(step.stage.name, step.fingerprint)
        row: Row = {"stage": step.stage.name, "artifact": step.folder, "state": state, "would": resolved.would(step)}
        if other:
            row["shared"] = (step.stage.name, step.fingerprint) in shared
        rows.append(row)
    return rows


def _values(resolved: Resolved) -> list[Row]:
    from avctl.recipe.origin import values

    return [{"value": v.path, "is": _plain(v.value), "from": v.origin} for v in values(resolved.recipe)]


def _differences(resolved: Resolved, other: Resolved) -> list[Row]:
    """One row a value that is not the same in both; `-` where a recipe lacks the section."""
    from avctl.recipe.origin import values

    ours, theirs = ({v.path: v for v in values(each.recipe)} for each in (resolved, other))
    rows = []
    for path in dict.fromkeys((*ours, *theirs)):
        mine, its = ours.get(path), theirs.get(path)
        if mine is None or its is None or mine.value != its.value:
            here = {"is": _plain(mine.value), "from": mine.origin} if mine else {"is": "-", "from": "-"}
            rows.append({"value": path, **here, "there": _plain(its.value) if its else "-"})
    return rows


def _plain(value: Any) -> Any:
    from pathlib import Path

    return str(value) if isinstance(value, Path) else value
