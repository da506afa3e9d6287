"""A killable worker: an item that hangs, crashes, eats memory or fills the disk costs its budget and only itself.

A spawned process works through shards, which are sequences of items. Time is kept by the kernel: a timer armed before
each item ends the process, whatever library holds it. Memory is limited by the address space, output by the size of
files. A process that is lost is replaced, and its shard goes on behind the item.
"""

from __future__ import annotations

import ctypes
import errno
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from avctl.job import MachineError, deaf_children

S = TypeVar("S", bound=Sequence[Any])
R = TypeVar("R")
Work = Callable[[S, list[Any]], Generator[R, None, None]]  # (shard, done) -> results of `shard[len(done):]`

_MEMORY_EXIT = 77  # exit code of a worker that met its memory limit
_OPENCV_NO_MEMORY = -4  # `cv2.error.code`: OpenCV has no MemoryError
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MOST_DETAIL = 500  # characters of what a library says
_MOST_STARTS = 4  # in a row, of a worker that is killed from outside while it starts
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Fault:
    """What stands in for the result of an item that broke its worker."""

    reason: str  # timeout, memory, output, crash, error
    detail: str


@dataclass(frozen=True)
class Budget:
    """What one item may use."""

    seconds: float
    memory_mb: int | None  # of address space, beyond what a fresh worker has; None: no limit
    output_mb: int  # written to any one file


class Worker(Generic[S, R]):
    """One process at a time, and the shard that it works on. `work` is sent to it by pickle; of several GPUs, it sees
    the one with the number `gpu`."""

    def __init__(self, work: Work[S, R], budget: Budget, gpu: int | None = None):
        self._work, self._budget, self._gpu = work, budget, gpu
        self._starts = 0  # in a row, without getting ready
        self._start()
        self.shard: S | None = None
        self.done: list[R | Fault] = []
        self._was_killed = False  # by somebody else, at this item

    @property
    def pid(self) -> int:
        """Of the process that it has now."""
        return self._process.pid or 0

    def give(self, shard: S | None) -> None:
        """The next shard, or none."""
        self.shard, self.done = shard, []
        if shard is not None:
            self._tell(self.done)

    def listen(self) -> bool:
        """Take one message; a result is appended to `done`. Whether the shard is finished.

        OSError where the disk is full, MachineError where the process does not start.
        """
        assert self.shard is not None
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionResetError):
            kind, value = self._lost()
        match kind:
            case "ready":
                self._is_ready, self._starts = True, 0
            case "full":
                raise OSError(errno.ENOSPC, str(value))
            case "result":
                self.done.append(value)
                self._was_killed = False
        return len(self.done) == len(self.shard)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _start(self) -> None:
        self._is_ready, self._starts = False, self._starts + 1
        self.connection, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_serve, args=(theirs, self._work, self._budget, self._gpu), daemon=True)
        with deaf_children():
            self._process.start()
        theirs.close()

    def _lost(self) -> tuple[str, Any]:
        """Go on with another process. SIGKILL is what the kernel sends when the machine runs out of memory, to whom it
        likes: an item is to blame only if it happens again."""
        assert self.shard is not None
        self._process.join()
        code = self._process.exitcode or 0
        is_forgiven = True
        if self._is_ready:
            is_forgiven = self._was_killed = code == -signal.SIGKILL and not self._was_killed
        else:
            self._require_start(code)
        fault = self._fault(code)
        self.connection.close()
        self._start()
        done = self.done if is_forgiven else [*self.done, fault]
        if len(done) < len(self.shard):
            self._tell(done)
        return ("again", None) if is_forgiven else ("result", fault)

    def _tell(self, done: list[R | Fault]) -> None:
        """Let the process go on behind `done`; if it is gone already, `listen` notices."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send((self.shard, done))

    def _require_start(self, code: int) -> None:
        """MachineError if a process that ended before it was ready is not worth another try."""
        if code != -signal.SIGKILL:
            raise MachineError(f"a worker cannot start: it ended with exit code {code}")
        if self._starts == _MOST_STARTS:
            hint = "the machine may be out of memory: free some, or lower `runtime.workers`, and run it again"
            raise MachineError(f"a worker was killed {self._starts} times while it started", hint)

    def _fault(self, code: int) -> Fault:
        """What the end of the process means."""
        if code == -signal.SIGALRM:
            return Fault("timeout", f"took longer than {self._budget.seconds:g} s")
        if code == _MEMORY_EXIT:
            return Fault("memory", f"needed more than {self._budget.memory_mb} MB")
        return Fault("crash", f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}")


def end_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends, however it ends. Other systems than Linux
    lack the call: there, a worker notices when it reports its item."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is None or os.getppid() != parent.pid:
        os._exit(0)  # it ended before the call


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Inside, no file of this process grows beyond `size` bytes: writing on is an OSError."""
    import resource

    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def _serve(connection: Connection, work: Work[Any, Any], budget: Budget, gpu: int | None) -> None:
    """The life of a worker. It ends when its parent closes the connection or dies."""
    end_with_parent()
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
    if budget.memory_mb is not None:
        _limit_memory(budget.memory_mb)
    try:
        connection.send(("ready", None))
        while True:
            shard, done = connection.recv()
            _work_through(connection, work, budget, shard, done)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _work_through(connection: Connection, work: Work[Any, Any], budget: Budget, shard: Any, done: list[Any]) -> None:
    while len(done) < len(shard):
        try:
            with closing(work(shard, done)) as results:
                while len(done) < len(shard):
                    signal.setitimer(signal.ITIMER_REAL, budget.seconds)
                    result = next(results)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    if len(done) + 1 == len(shard):
                        results.close()  # other machines see what was written once it is closed
                    connection.send(("result", result))
                    done.append(result)
        except MemoryError:
            os._exit(_MEMORY_EXIT)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if getattr(error, "code", None) == _OPENCV_NO_MEMORY:
                os._exit(_MEMORY_EXIT)
            if isinstance(error, OSError) and error.errno in _FULL_DISK:
                connection.send(("full", error.strerror))
                raise EOFError from error
            done.append(_meant(error, budget))
            connection.send(("result", done[-1]))


def _meant(error: Exception, budget: Budget) -> Fault:
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return Fault("output", f"wrote more than {budget.output_mb} MB")
    return Fault("error", " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_DETAIL])


def _limit_memory(megabytes: int) -> None:
    """Let the address space grow by this much, where the system can tell how large it is."""
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 2**20
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
