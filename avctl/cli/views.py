"""Three views of a running command, all on standard error: live bars, plain lines, JSON lines."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

INTERVAL_S = 10.0  # between two lines about the same phase in a log
JSON_INTERVAL_S = 0.1  # the same for programs


class Pace:
    """Rate and time left of one phase, from its first report on: what was done before a resume counts as given."""

    def __init__(self, done: int):
        self.start, self.first = time.monotonic(), done

    def rate(self, done: int) -> float | None:
        """Items a second."""
        elapsed = time.monotonic() - self.start
        return (done - self.first) / elapsed if elapsed > 0 and done > self.first else None

    def left_s(self, done: int, total: int | None) -> float | None:
        rate = self.rate(done)
        return (total - done) / rate if rate and total is not None else None


class PlainView:
    """A line per phase and interval, for logs."""

    def __init__(self, verbosity: int = 0, interval_s: float = INTERVAL_S):
        self.verbosity, self.interval_s = verbosity, interval_s
        self._stage = ""
        self._paces: dict[str, Pace] = {}
        self._shown: dict[str, float] = {}

    def begin(self, stage: str, title: str) -> None:
        self._stage, self._paces, self._shown = stage, {}, {}
        self.note(title)

    def progress(self, name: str, done: int, total: int | None, figures: dict[str, Any]) -> None:
        pace = self._paces.setdefault(name, Pace(done))
        now, is_last = time.monotonic(), total is not None and done >= total
        is_due = now - self._shown.get(name, pace.start) >= self.interval_s or is_last
        if self.verbosity < 0 or not is_due or (is_last and self._shown.get(name) == float("inf")):
            return
        self._shown[name] = float("inf") if is_last else now
        self._print(f"{self._stage}: {progress_line(name, done, total, pace, figures)}")

    def log(self, metrics: dict[str, Any]) -> None:
        if self.verbosity > 0:
            self._print(f"{self._stage}: {shown(metrics)}")

    def note(self, text: str) -> None:
        if self.verbosity >= 0:
            self._print(text)

    def warn(self, text: str) -> None:
        self._print(f"warning: {text}")

    def say(self, text: str) -> None:
        self._print(text)

    def end(self) -> None:
        self._stage = ""

    def close(self) -> None:
        sys.stderr.flush()

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class JsonView:
    """One JSON object a line."""

    def __init__(self, verbosity: int = 0, interval_s: float = JSON_INTERVAL_S):
        self.verbosity, self.interval_s = verbosity, interval_s
        self._stage = ""
        self._paces: dict[str, Pace] = {}
        self._shown: dict[str, float] = {}

    def begin(self, stage: str, title: str) -> None:
        self._stage, self._paces, self._shown = stage, {}, {}
        self._print("begin", title=title)

    def progress(self, name: str, done: int, total: int | None, figures: dict[str, Any]) -> None:
        pace = self._paces.setdefault(name, Pace(done))
        now, is_last = time.monotonic(), total is not None and done >= total
        is_due = now - self._shown.get(name, -self.interval_s) >= self.interval_s
        if self.verbosity >= 0 and (is_due or is_last):
            self._shown[name] = now
            rate, left_s = pace.rate(done), pace.left_s(done, total)
            self._print("progress", phase=name, done=done, total=total, rate=rate, left_s=left_s, **figures)

    def log(self, metrics: dict[str, Any]) -> None:
        if self.verbosity > 0:
            self._print("log", **metrics)

    def note(self, text: str) -> None:
        if self.verbosity >= 0:
            self._print("note", text=text)

    def warn(self, text: str) -> None:
        self._print("warning", text=text)

    def say(self, text: str) -> None:
        self.note(text)

    def end(self) -> None:
        self._print("end")
        self._stage = ""

    def close(self) -> None:
        sys.stderr.flush()

    def _print(self, event: str, **data: Any) -> None:
        row = {"event": event, "stage": self._stage, **data}
        print(json.dumps(row, default=lambda value: value.item()), file=sys.stderr, flush=True)


class RichView:
    """Live bars with rate and time left. Colours follow NO_COLOR."""

    def __init__(self, verbosity: int = 0):
        from rich.console import Console

        self.verbosity = verbosity
        self.console = Console(stderr=True, highlight=False)
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._paces: dict[str, Pace] = {}

    def begin(self, stage: str, title: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._tasks, self._paces = {}, {}
        if self.verbosity >= 0:
            self.console.print(f"[bold]{title}[/]")
            columns = (TextColumn("  {task.description}"), BarColumn(), TextColumn("{task.fields[line]}"))
            self._bars = Progress(*columns, console=self.console)
            self._bars.start()

    def progress(self, name: str, done: int, total: int | None, figures: dict[str, Any]) -> None:
        if self._bars is None:
            return
        pace = self._paces.setdefault(name, Pace(done))
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, line="")
        line = progress_line("", done, total, pace, figures)
        self._bars.update(self._tasks[name], completed=done, total=total, line=line)

    def log(self, metrics: dict[str, Any]) -> None:
        if self.verbosity > 0:
            self.console.print(f"  {shown(metrics)}", markup=False)

    def note(self, text: str) -> None:
        if self.verbosity >= 0:
            self.say(text)

    def warn(self, text: str) -> None:
        self.console.print(f"warning: {text}", style="yellow", markup=False)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def close(self) -> None:
        self.end()


def progress_line(name: str, done: int, total: int | None, pace: Pace, figures: dict[str, Any]) -> str:
    """`fetch 12/48, 3.1/s, 12 s left, dead 1`."""
    rate, left_s = pace.rate(done), pace.left_s(done, total)
    parts = [f"{name} {done}".strip() + (f"/{total}" if total is not None else "")]
    if rate:
        parts.append(f"{rate:.3g}/s" if rate >= 0.1 else f"{1 / rate:.3g} s each")
    if left_s:
        parts.append(f"{duration(left_s)} left")
    return ", ".join(parts + ([shown(figures)] if figures else []))


def shown(figures: dict[str, Any]) -> str:
    def short(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{name} {short(value)}" for name, value in figures.items())


def duration(seconds: float) -> str:
    """`48 s`, `12:05`, `3:04:05`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
