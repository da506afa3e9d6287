"""Killable workers: an item that hangs, crashes or eats memory costs its budget and only itself.

Spawned processes live as long as the pool and work through shards, which are sequences of items. Time is kept by the
kernel: a timer armed before each item ends the process, whatever library holds it, even when the parent is gone.
Memory is limited by the address space. A worker that is lost is replaced, and its shard goes on behind the item.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import queue
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from threading import Event, Thread
from typing import Any, Generic, TypeVar

from avctl.job import MachineError, deaf_children

S = TypeVar("S", bound=Sequence[Any])
R = TypeVar("R")
Work = Callable[[S, list[Any]], Iterator[R]]

_MEMORY_EXIT = 77  # exit code of a worker that met its memory limit
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Fault:
    """What stands in for the result of an item that broke its worker."""

    reason: str  # timeout, memory, crash, error
    detail: str


@dataclass(frozen=True)
class Budget:
    """What one item may use."""

    seconds: float
    memory_mb: int  # beyond what a fresh worker has


class Pool(Generic[S, R]):
    """`workers` processes that run `work`, which is sent to them by pickle.

    `work(shard, done)` yields the results of `shard[len(done):]`, one an item and in order; `done` are the results that
    stand already, some of which may be faults.
    """

    def __init__(self, work: Work[S, R], workers: int, budget: Budget):
        self._work, self._num_workers, self._budget = work, workers, budget
        self.num_results = 0  # so far, of all shards: for those who watch

    def run(self, shards: Iterable[S]) -> Generator[tuple[S, list[R | Fault]] | None, None, None]:
        """Each shard with its results, in the order in which they finish; None every half second while there is none.

        Closing the iterator kills the workers. OSError where the disk is full, MachineError where no worker starts.
        """
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        stop = Event()
        supervisor = Thread(target=self._supervise, args=(deque(shards), finished, stop), daemon=True)
        supervisor.start()
        try:
            while True:
                try:
                    found = finished.get(timeout=0.5)
                except queue.Empty:
                    yield None
                    continue
                if found is None:
                    return
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            stop.set()
            supervisor.join()

    def _supervise(self, shards: deque[S], finished: queue.SimpleQueue[Any], stop: Event) -> None:
        """Feed the workers and collect from them, in a thread: a caller that is busy does not keep them waiting."""
        workers = [_Worker(self._work, self._budget) for _ in range(min(self._num_workers, len(shards)))]
        try:
            for worker in workers:
                worker.give(shards.popleft())
            while not stop.is_set() and (busy := [worker for worker in workers if worker.shard is not None]):
                ready = wait([worker.connection for worker in busy], timeout=0.2)
                for worker in busy:
                    if worker.connection in ready and self._hear(worker):
                        finished.put((worker.shard, worker.done))
                        worker.give(shards.popleft() if shards else None)
            finished.put(None)
        except Exception as error:
            finished.put(error)  # raised in the caller's thread
        finally:
            for worker in workers:
                worker.kill()

    def _hear(self, worker: _Worker[S, R]) -> bool:
        before = len(worker.done)
        is_finished = worker.listen()
        self.num_results += len(worker.done) - before
        return is_finished


class _Worker(Generic[S, R]):
    """One process at a time, and the shard that it works on."""

    def __init__(self, work: Work[S, R], budget: Budget):
        self._work, self._budget = work, budget
        self._start()
        self.shard: S | None = None
        self.done: list[R | Fault] = []

    def give(self, shard: S | None) -> None:
        """The next shard, or none."""
        self.shard, self.done = shard, []
        if shard is not None:
            self.connection.send((shard, self.done))

    def listen(self) -> bool:
        """Take one message. Whether the shard is finished."""
        assert self.shard is not None
        try:
            kind, value = self.connection.recv()
        except (EOFError, ConnectionResetError):
            kind, value = "result", self._fault()
            self._start()
            if len(self.done) + 1 < len(self.shard):
                self.connection.send((self.shard, [*self.done, value]))
        match kind:
            case "ready":
                self._is_ready = True
            case "full":
                raise OSError(errno.ENOSPC, str(value))
            case "result":
                self.done.append(value)
        return len(self.done) == len(self.shard)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _start(self) -> None:
        self._is_ready = False
        self.connection, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_serve, args=(theirs, self._work, self._budget), daemon=True)
        with deaf_children():
            self._process.start()
        theirs.close()

    def _fault(self) -> Fault:
        """What the end of the process means."""
        self._process.join()
        code = self._process.exitcode or 0
        if not self._is_ready:
            raise MachineError(f"a worker cannot start: it ended with exit code {code}")
        if code == -signal.SIGALRM:
            return Fault("timeout", f"took longer than {self._budget.seconds:g} s")
        if code == _MEMORY_EXIT:
            return Fault("memory", f"needed more than {self._budget.memory_mb} MB")
        return Fault("crash", f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}")


def _serve(connection: Connection, work: Work[Any, Any], budget: Budget) -> None:
    """The life of a worker. It ends when its parent closes the connection or dies."""
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
        results = work(shard, done)
        try:
            while len(done) < len(shard):
                signal.setitimer(signal.ITIMER_REAL, budget.seconds)
                result = next(results)
                signal.setitimer(signal.ITIMER_REAL, 0)
                done.append(result)
                connection.send(("result", result))
        except MemoryError:
            os._exit(_MEMORY_EXIT)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if isinstance(error, OSError) and error.errno in _FULL_DISK:
                connection.send(("full", error.strerror))
                raise EOFError from error
            done.append(Fault("error", f"{type(error).__name__}: {error}"))
            connection.send(("result", done[-1]))


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
