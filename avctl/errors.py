"""The ways in which a command ends without being a bug, each with its exit code.

The whole table: 0 done, 1 stage failed, 2 usage (click's), 3 recipe wrong, 4 input missing or damaged, 5 artifact
held by another process, 6 machine lacks something, 75 interrupted after saving, 130 Ctrl-C before that.
This file imports nothing, so that `avctl --help` and `avctl doctor` can always print an error.
"""

from __future__ import annotations


class Failure(Exception):
    """One sentence on what is wrong, and a hint on what to do."""

    code = 1
    kind = "failed"

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.message, self.hint = message, hint

    def render(self) -> str:
        """The error as text: the sentence, its place, a blank line, the hint."""
        return f"error: {self.message}" + (f"\n\nhint: {self.hint}" if self.hint else "")

    def plain(self) -> dict[str, object]:
        """The error as data for `--json`."""
        return {"kind": self.kind, "message": self.message, "hint": self.hint}


class StageError(Failure):
    """The stage failed for a reason that it understands (exit 1)."""


class UsageError(Failure):
    """The command line asks for something that does not go together (exit 2)."""

    code, kind = 2, "usage"


class InputError(StageError):
    """An input is missing or damaged (exit 4)."""

    code, kind = 4, "input"


class LockedError(Failure):
    """Another process writes this artifact (exit 5)."""

    code, kind = 5, "locked"


class MachineError(StageError):
    """The machine lacks something; `hint` is the command that installs it (exit 6)."""

    code, kind = 6, "machine"


class Interrupted(Failure):
    """The stage was asked to stop and saved its state: the same command goes on from here (exit 75)."""

    code, kind = 75, "interrupted"

    def __init__(self, message: str = "interrupted after saving", hint: str | None = None):
        super().__init__(message, hint or "run the same command again to go on")
