"""What a stage is given, and the few ways in which it ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

from avctl.errors import InputError, Interrupted, MachineError, StageError
from avctl.schema import Recipe

__all__ = ["InputError", "Interrupted", "Job", "MachineError", "Reporter", "StageError", "deaf_children"]


class Reporter(Protocol):
    """Where a stage says what it does. The terminal is a view of it; `log.jsonl` keeps the metrics."""

    def progress(self, name: str, done: int, total: int | None = None, **figures: Any) -> None:
        """`done` of `total` items of the phase `name`; the reporter derives rate and time left."""
        ...

    def log(self, **metrics: Any) -> None:
        """One row of `log.jsonl`: plain numbers and text."""
        ...

    def rewind(self, step: int) -> None:
        """Take back the rows of `log.jsonl` for steps after `step`: training goes on from there."""
        ...

    def note(self, text: str) -> None:
        """One sentence for the reader."""
        ...

    def warn(self, text: str) -> None:
        """One sentence about something that went wrong and was dealt with."""
        ...


@dataclass(frozen=True)
class Job:
    """One stage at work. It reads `inputs`, writes below `out`, and nothing else.

    `out` may hold what an earlier, interrupted run of the same job left: a stage picks that up.
    """

    recipe: Recipe
    inputs: Mapping[str, Path]  # finished artifacts by stage name; `codec` is a trained codec's
    out: Path
    report: Reporter
    stop: Event  # set by the first Ctrl-C, TERM or USR2: save, then raise `Interrupted`
    retry: bool = False  # try dead letters again: `out` then starts as a copy of the finished artifact


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started inside do not hear Ctrl-C, TERM or USR2, not even while they start: their parent decides.

    A mask of signals belongs to a thread and is inherited by what it starts; this thread's own comes back at the end.
    The resource tracker of `multiprocessing` must run before, because starting it clears the mask.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
