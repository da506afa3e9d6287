"""The commands that make artifacts: the six stages, and `run` for all of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from avctl.cli.options import HAVE_DEAD_LETTERS, Options, max_samples_option, running_options

if TYPE_CHECKING:
    from pathlib import Path

    from avctl.pipeline import Step

HELP = {
    "crawl": "Fetch the files of RECIPE's sources.",
    "preprocess": "Cut, judge and store the clips of the crawled files.",
    "train": "Train RECIPE's model on its clips.",
    "sample": "Generate clips with the trained model.",
    "eval": "Measure the generated clips and write the report.",
    "export": "Turn the trained model into a folder that stands alone.",
}


def _stage_command(name: str) -> click.Command:
    @click.command(name, help=HELP[name])
    @running_options
    def command(recipe: str, options: Options) -> None:
        if options.retry and name not in HAVE_DEAD_LETTERS:
            raise click.UsageError(f"`{name}` has no dead letters to retry")
        _make(recipe, options, only=name)

    return max_samples_option(command) if name == "preprocess" else command


STAGE_COMMANDS = tuple(_stage_command(name) for name in HELP)


@click.command()
@max_samples_option
@running_options
def run(recipe: str, options: Options) -> None:
    """Make every artifact of RECIPE that is missing, in order."""
    _make(recipe, options)


def _make(ref: str, options: Options, only: str | None = None) -> None:
    """Print the path of each artifact, or with `--json` one object at the end."""
    from avctl.cli.execute import Executor
    from avctl.cli.resolve import resolve

    resolved = resolve(ref, options)
    steps = [resolved.own_step(only)] if only else resolved.steps
    made: list[tuple[Step, Path]] = []
    with Executor(resolved) as executor:
        for step in steps:
            path = executor.make(step)
            if path:
                made.append((step, path))
                if not options.as_json:
                    click.echo(path)
        if not only and not options.is_dry:
            executor.conclude({step.stage.name: path for step, path in made if not step.is_codec})
    if options.as_json:
        rows = [{"stage": s.stage.name, "fingerprint": s.fingerprint, "path": str(p)} for s, p in made]
        click.echo(json.dumps({"artifacts": rows, "planned": executor.planned}))
