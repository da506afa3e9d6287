"""`avctl doctor`: this machine."""

from __future__ import annotations

import platform

import click


@click.command()
def doctor() -> None:
    """Check this machine."""
    click.echo(platform.python_version())
