"""The options that commands share. Each is obeyed or refused, never ignored."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

HAVE_DEAD_LETTERS = ("crawl", "preprocess")


@dataclass(frozen=True)
class Options:
    """What the command line asks for beside the recipe."""

    store: Path
    overrides: tuple[str, ...] = ()
    given: tuple[Path, ...] = ()  # --with
    is_dry: bool = False
    force: bool = False
    retry: bool = False
    as_json: bool = False
    verbosity: int = 0  # -1 warnings only, 0, 1 every logged row

    def words(self) -> list[str]:
        """The options that decide about artifacts, as they would be typed again."""
        words = [word for text in self.overrides for word in ("-o", text)]
        words += [word for path in self.given for word in ("--with", str(path))]
        return words + (["--store", str(self.store)] if self.store != Path("runs") else [])


store_option = click.option(
    "--store", type=click.Path(path_type=Path, file_okay=False), default="runs", envvar="AVCTL_STORE",
    show_default=True, show_envvar=True, metavar="DIR", help="Folder of all artifacts.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
_recipe = (
    click.argument("recipe", shell_complete=lambda ctx, param, text: complete_recipe(text)),
    click.option("-o", "--override", "overrides", multiple=True, metavar="PATH=VALUE", help="Change one value."),
    store_option,
    click.option(
        "--with", "given", multiple=True, metavar="ARTIFACT", type=click.Path(path_type=Path),
        help="Use this finished artifact as input.",
    ),
)  # fmt: skip
_running = (
    click.option("-n", "--dry-run", "is_dry", is_flag=True, help="Say what would be done."),
    click.option("--force", is_flag=True, help="Make it again; the old folder is moved aside."),
    click.option("--retry", is_flag=True, help="Try dead letters again (crawl, preprocess)."),
    json_option,
    click.option("-q", "quiet", is_flag=True, help="Only warnings and errors."),
    click.option("-v", "verbose", is_flag=True, help="Also every row of the log."),
)

max_samples_option = click.option(
    "--max-samples", type=click.IntRange(min=1), metavar="N",
    help="A trial: preprocess only the first N files by their hash (-o preprocess.max_samples=N).",
)  # fmt: skip


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """RECIPE and the options that decide what it is; the command is called with `recipe` and `options`."""
    return _decorate(command, (*_recipe, json_option))


def running_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`recipe_options`, and those of a command that makes artifacts."""
    return _decorate(command, (*_recipe, *_running))


def _decorate(command: Callable[..., Any], options: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    @functools.wraps(command)
    def call(*, recipe: str, quiet: bool = False, verbose: bool = False, **words: Any) -> Any:
        if quiet and verbose:
            raise click.UsageError("`-q` and `-v` exclude each other")
        if words.get("force") and words.get("retry"):
            raise click.UsageError("`--force` makes everything again, `--retry` only dead letters: give one of them")
        if (limit := words.pop("max_samples", None)) is not None:
            words["overrides"] = (*words["overrides"], f"preprocess.max_samples={limit}")
        known = {name: words.pop(name) for name in Options.__dataclass_fields__ if name in words}
        return command(recipe=recipe, options=Options(**known, verbosity=verbose - quiet), **words)

    for option in reversed(options):
        call = option(call)
    return call


def complete_recipe(text: str) -> list[str]:
    """Recipes whose path starts with `text`, for the shell."""
    folder = Path(text).parent if "/" in text else Path("recipes")
    return [str(path) for path in sorted(folder.glob("*.py")) if str(path).startswith(text)]
