"""What a stage says: kept in `log.jsonl`, and shown on standard error in one of three views."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from avctl.cli.views import JsonView, PlainView, RichView
from avctl.files import write_text


class View(Protocol):
    """Where people (or programs) look on while a command runs."""

    def begin(self, stage: str, title: str) -> None: ...
    def progress(self, name: str, done: int, total: int | None, figures: dict[str, Any]) -> None: ...
    def log(self, metrics: dict[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def say(self, text: str) -> None: ...
    def end(self) -> None: ...
    def close(self) -> None: ...


def view_for(as_json: bool, verbosity: int) -> View:
    """JSON lines if asked for, live bars on a terminal, else a plain line now and then."""
    if as_json:
        return JsonView(verbosity)
    return RichView(verbosity) if sys.stderr.isatty() else PlainView(verbosity)


class StageReport:
    """The `Reporter` of one run of a stage. May be called from any thread."""

    def __init__(self, path: Path, view: View):
        self._path, self._view, self._lock = path, view, threading.RLock()

    def __enter__(self) -> Self:
        _drop_torn_line(self._path)
        self._file = self._path.open("a")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def progress(self, name: str, done: int, total: int | None = None, **figures: Any) -> None:
        with self._lock:
            self._view.progress(name, done, total, figures)

    def log(self, **metrics: Any) -> None:
        with self._lock:
            self._write(metrics)
            self._view.log(metrics)

    def rewind(self, step: int) -> None:
        with self._lock:
            rows = self._path.read_text().splitlines(keepends=True)
            kept = [row for row in rows if json.loads(row).get("step", 0) <= step]
            if kept == rows:
                return
            write_text(self._path, "".join(kept))  # at no moment is there less
            self._file.close()
            self._file = self._path.open("a")

    def note(self, text: str) -> None:
        with self._lock:
            self._write({"note": text})
            self._view.note(text)

    def warn(self, text: str) -> None:
        with self._lock:
            self._write({"warning": text})
            self._view.warn(text)

    def _write(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps({"time": round(time.time(), 3), **row}, default=_number) + "\n")
        self._file.flush()


def _number(value: Any) -> Any:
    """Numbers of numpy and torch as Python's."""
    return value.item() if hasattr(value, "item") else str(value)


def _drop_torn_line(path: Path) -> None:
    """A kill may have cut the last row short."""
    if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)
