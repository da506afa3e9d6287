"""The command `avctl`: its group, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import click

from avctl import __version__
from avctl.cli.doctor import doctor
from avctl.cli.ls import ls
from avctl.cli.plan import plan
from avctl.cli.stages import STAGE_COMMANDS, run
from avctl.errors import Failure, MachineError, StageError

NO_SPACE = "no space left"


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


for command in (*STAGE_COMMANDS, run, plan, ls, doctor):
    avctl.add_command(command)


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    sys.exit(run_command(argv))


def run_command(argv: list[str] | None = None) -> int:
    """The exit code of a command line; every error that is meant is shown as one message."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return int(avctl.main(arguments, prog_name="avctl", standalone_mode=False) or 0)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "avctl"
        return _show(_Usage(error.format_message(), f"see `{command} --help`"), arguments)
    except click.ClickException as error:
        return _show(_Usage(error.format_message()), arguments)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Failure as error:
        return _show(error, arguments)
    except BrokenPipeError:  # `avctl ls | head`
        sys.stderr.close()
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "avctl":
            raise
        return _show(MachineError(f"the package `{package}` is not installed", "pip install -e ."), arguments)
    except OSError as error:
        return _show(StageError(_system_error(error)), arguments)


class _Usage(Failure):
    code, kind = 2, "usage"


def _show(error: Failure, arguments: list[str]) -> int:
    """The error on standard error, or as one object on standard output with `--json`."""
    if "--json" in arguments:
        plain: dict[str, Any] = {"error": error.plain(), "exit": error.code}
        print(json.dumps(plain))
        return error.code
    from rich.console import Console
    from rich.text import Text

    text = Text(error.render())
    text.highlight_regex(r"(?m)^error:", "bold red")
    text.highlight_regex(r"(?m)^hint:", "bold cyan")
    text.highlight_regex(r"(?m)^ +\| +\^+$", "red")
    Console(stderr=True, soft_wrap=True, highlight=False).print(text)
    return error.code


def _system_error(error: OSError) -> str:
    where = f": `{error.filename}`" if error.filename else ""
    return f"{(error.strerror or str(error)).lower()}{where}"
