"""The command `avctl`: its group, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import NoReturn

import click

from avctl import __version__
from avctl.cli.doctor import doctor
from avctl.cli.ls import ls
from avctl.cli.plan import plan
from avctl.cli.signals import LEFT_AT_ONCE
from avctl.cli.stages import STAGE_COMMANDS, run
from avctl.cli.webdataset import webdataset
from avctl.errors import Failure, MachineError, StageError, UsageError


class Commands(click.Group):
    """Lists commands in the order of work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="avctl")
def avctl() -> None:
    """From a list of sources to a trained, measured and exported generator of video with sound.

    RECIPE is a Python file (`recipes/tiny.py`, or `file.py::name`). To resume anything, run the same command again.
    """


for command in (*STAGE_COMMANDS, run, plan, ls, webdataset, doctor):
    avctl.add_command(command)


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    words = sys.argv[1:] if argv is None else argv
    sys.exit(exit_code(lambda: avctl.main(words, prog_name="avctl", standalone_mode=False), "--json" in words))


def exit_code(call: Callable[[], object], as_json: bool = False) -> int:
    """The exit code that `call` ends with; every error that is meant is shown as one message, bugs keep their trace."""
    try:
        return int(call() or 0)  # pyright: ignore[reportArgumentType]
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "avctl"
        return _show(UsageError(error.format_message(), f"see `{command} --help`"), as_json)
    except click.ClickException as error:
        return _show(UsageError(error.format_message()), as_json)
    except (click.Abort, KeyboardInterrupt):
        return LEFT_AT_ONCE
    except Failure as error:
        return _show(error, as_json)
    except SystemExit:  # so click leaves when nobody reads on: `avctl ls | head`
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "avctl":
            raise
        return _show(MachineError(f"the package `{package}` is not installed", "pip install -e ."), as_json)
    except OSError as error:
        where = f": `{error.filename}`" if error.filename else ""
        return _show(StageError(f"{(error.strerror or str(error)).lower()}{where}"), as_json)


def _show(error: Failure, as_json: bool) -> int:
    """The error on standard error, or as one object on standard output."""
    if as_json:
        print(json.dumps({"error": error.plain(), "exit": error.code}))
        return error.code
    from rich.console import Console
    from rich.text import Text

    text = Text(error.render())
    text.highlight_regex(r"(?m)^error:", "bold red")
    text.highlight_regex(r"(?m)^hint:", "bold cyan")
    text.highlight_regex(r"(?m)^ +\| +\^+$", "red")
    Console(stderr=True, soft_wrap=True, highlight=False).print(text)
    return error.code
