"""The first Ctrl-C, TERM or USR2 asks to finish the step and save; the second leaves at once; a timer does if saving
hangs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
GRACE_S = 170.0  # Slurm's USR2 comes 180 s before the end
LEFT_AT_ONCE = 130


class Stopper:
    """Signal handlers for the length of a `with`; `event` is what a stage looks at."""

    def __init__(self, grace_s: float = GRACE_S):
        self.event = threading.Event()
        self._grace_s, self._pid = grace_s, os.getpid()
        self._before: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._timer:
            self._timer.cancel()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a forked worker: its parent decides, but it can be terminated
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.event.is_set():
            self._leave("leaving at once")
        self.event.set()
        _say("stopping: finishing the step and saving (again: leave at once)")
        self._timer = threading.Timer(self._grace_s, self._leave, [f"not saved after {self._grace_s:g} s: leaving"])
        self._timer.daemon = True
        self._timer.start()

    def _leave(self, why: str) -> None:
        _say(why)
        if "multiprocessing" in sys.modules:
            for child in sys.modules["multiprocessing"].active_children():
                child.kill()
        os._exit(LEFT_AT_ONCE)


def _say(text: str) -> None:
    os.write(2, f"\n{text}\n".encode())  # print could be what the signal interrupted
