"""`avctl ls`: what there is in the store."""

from __future__ import annotations

from pathlib import Path

import click

from avctl.cli.options import store_option


@click.command()
@store_option
def ls(store: Path) -> None:
    """List artifacts."""
    from avctl.artifact import Store

    for folder in Store(store).folders():
        click.echo(folder)
