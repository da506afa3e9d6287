"""While a recipe loads it may not write files, start programs or open sockets.

A guard against accidents and hidden inputs, not a sandbox: a recipe is code you trust.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from avctl.recipe.errors import RecipeError, Where

_FORBIDDEN = {
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"), "start a program"),
    **dict.fromkeys(("os.fork", "os.forkpty", "pty.spawn"), "start a process"),
    **dict.fromkeys(("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"), "use the network"),
    **dict.fromkeys(("os.remove", "os.rmdir", "shutil.rmtree"), "delete files"),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink", "shutil.move"), "rename or link files"),
    **dict.fromkeys(("os.mkdir", "os.chmod", "os.chown", "os.truncate", "os.utime"), "change files"),
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_HINT = "put work in a stage, and only values in a recipe"


class _Guard:
    """What the one audit hook of this process looks at: hooks cannot be removed, so it is switched on and off."""

    def __init__(self) -> None:
        self.is_installed = False
        self.thread: int | None = None  # the thread that loads a recipe
        self.is_recipe: Callable[[FrameType], bool] = lambda frame: False
        self.error: RecipeError | None = None

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.thread is None or self.thread != threading.get_ident():
            return
        what = f"write `{args[0]}`" if event == "open" and _is_write(args) else _FORBIDDEN.get(event)
        if what is not None:
            where = _line(sys._getframe(1), self.is_recipe)
            self.error = RecipeError(f"a recipe may not {what} while it loads", where, _HINT)
            raise self.error


_guard = _Guard()


@contextmanager
def pure(is_recipe: Callable[[FrameType], bool]) -> Iterator[None]:
    """Refuse side effects of this thread; `is_recipe` tells which frames an error may point at.

    Raises RecipeError at the end even if the recipe swallowed the first one.
    """
    if not _guard.is_installed:
        sys.addaudithook(_guard.hook)
        _guard.is_installed = True
    no_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    _guard.error, _guard.is_recipe, _guard.thread = None, is_recipe, threading.get_ident()
    try:
        yield
    except Exception:
        if _guard.error:
            raise _guard.error from None
        raise
    finally:
        _guard.thread, sys.dont_write_bytecode = None, no_bytecode
    if _guard.error:
        raise _guard.error


def _is_write(args: tuple[Any, ...]) -> bool:
    _, mode, flags = args
    return bool((isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _WRITES))


def _line(frame: FrameType | None, is_recipe: Callable[[FrameType], bool]) -> Where | None:
    """The innermost line of a recipe on the stack."""
    while frame and not is_recipe(frame):
        frame = frame.f_back
    if frame is None:
        return None
    line, end_line, col, end_col = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    line = line or frame.f_lineno
    return Where(frame.f_code.co_filename, line, end_line or line, col or 0, end_col or (col or 0) + 1)
