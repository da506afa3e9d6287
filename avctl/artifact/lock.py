"""One writer an artifact: a POSIX record lock, which the kernel lets go when its process dies, however it dies.

Record locks are not inherited by forked workers, so a worker that outlives its killed parent holds nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from pathlib import Path

from avctl.errors import LockedError

_held: set[Path] = set()  # record locks do not exclude their own process
_PATIENCE, _PAUSE_S = 10, 0.02  # attempts: someone who only looks holds the lock for an instant


class Lock:
    """The lock file `path`, held from construction to `release`. Raises LockedError while another process has it."""

    def __init__(self, path: Path, what: str):
        self.path = path.absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path in _held:
            raise LockedError(f"{what} is being written by this process")
        self._file = _acquire(self.path, what)
        _held.add(self.path)
        owner = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(owner).encode(), 0)

    def release(self) -> None:
        """Let go, once; the file is removed first, while nobody else can have the lock."""
        if self.path in _held:
            self.path.unlink(missing_ok=True)
            os.close(self._file)
            _held.discard(self.path)


def _acquire(path: Path, what: str) -> int:
    attempts = _PATIENCE
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(file, 4096, 0).decode(errors="replace")
            os.close(file)
            attempts -= 1
            if attempts == 0:
                raise LockedError(f"{what} is being written by {_name(owner)}", "wait for it, or stop it") from error
            time.sleep(_PAUSE_S)
            continue
        if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
            return file
        os.close(file)  # its last owner removed it between our two calls


def _name(owner: str) -> str:
    try:
        return "process {pid} on {host} since {since}".format(**json.loads(owner))
    except (ValueError, KeyError):
        return "another process"


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock now. Looking takes a shared lock for an instant, which writers wait out."""
    if path.absolute() in _held:
        return True
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
