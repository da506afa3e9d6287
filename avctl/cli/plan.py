"""`avctl plan`: what would run."""

from __future__ import annotations

import click

from avctl.cli.options import Options, recipe_options


@click.command()
@recipe_options
def plan(recipe: str, options: Options) -> None:
    """Show what of RECIPE is done and what would run."""
    from avctl.cli.resolve import resolve

    resolved = resolve(recipe, options)
    for step in resolved.steps:
        status = resolved.store.status(step.stage.name, step.fingerprint)
        click.echo(f"{step.stage.name:<12}{step.folder:<40}{status}")
