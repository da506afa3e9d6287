"""What all pools of workers have in common, and the one of processes on this machine.

A pool is fed and heard from a thread of its own, so that a caller who is busy does not keep the workers waiting.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from threading import Event, Thread
from typing import Any, Generic, Protocol, TypeVar

from avctl.curate.worker import Budget, Fault, Work, Worker

S = TypeVar("S", bound=Sequence[Any])
R = TypeVar("R")
PAUSE_S = 0.2  # between two looks at whether to stop


@dataclass(frozen=True)
class Progress(Generic[S, R]):
    """A shard with its results so far, one an item: told after every result, and once more when it is finished.

    A shard whose worker was lost with its machine is begun again: then it has fewer results than were told before.
    """

    shard: S
    results: tuple[R | Fault, ...]
    is_finished: bool = False


Steps = Iterator[Progress[S, R] | None]  # None every half second in which nothing happens
Report = Callable[[Progress[S, R]], None]


class Pool(Protocol[S, R]):
    """Workers that take shards one after the other."""

    @property
    def num_workers(self) -> int:
        """How many there are now."""
        ...

    def run(self, shards: Sequence[S]) -> AbstractContextManager[Steps[S, R]]:
        """Work through all shards; leaving the context ends the workers, whatever they are doing.

        The steps raise OSError where the disk is full, MachineError where no worker starts.
        """
        ...


class LocalPool(Generic[S, R]):
    """Processes on this machine that run `work`, at most one a shard, shared out among its `num_gpus` GPUs."""

    def __init__(self, work: Work[S, R], max_workers: int, budget: Budget, num_gpus: int = 0):
        self.max_workers, self._num_gpus = max_workers, num_gpus
        self._work, self._budget = work, budget
        self.num_workers = 0

    def run(self, shards: Sequence[S]) -> AbstractContextManager[Steps[S, R]]:
        self.num_workers = min(self.max_workers, len(shards))
        return supervised(lambda report, stop: self._supervise(deque(shards), report, stop))

    def _supervise(self, shards: deque[S], report: Report[S, R], stop: Event) -> None:
        gpus = [number % self._num_gpus if self._num_gpus else None for number in range(self.num_workers)]
        workers = [Worker(self._work, self._budget, gpu) for gpu in gpus]
        try:
            for worker in workers:
                worker.give(shards.popleft())
            while not stop.is_set() and (busy := [worker for worker in workers if worker.shard is not None]):
                ready = wait([worker.connection for worker in busy], timeout=PAUSE_S)
                for worker in busy:
                    if worker.connection in ready and _hear(worker, report):
                        worker.give(shards.popleft() if shards else None)
        finally:
            for worker in workers:
                worker.kill()


def _hear(worker: Worker[S, R], report: Report[S, R]) -> bool:
    assert worker.shard is not None
    before = len(worker.done)
    is_finished = worker.listen()
    if len(worker.done) > before:
        report(Progress(worker.shard, tuple(worker.done)))
    if is_finished:
        report(Progress(worker.shard, tuple(worker.done), is_finished=True))
    return is_finished


@contextmanager
def supervised(supervise: Callable[[Report[S, R], Event], None]) -> Iterator[Steps[S, R]]:
    """Run `supervise(report, stop)` in a thread; the steps are what it reports, and what it raises."""
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stop = Event()

    def work() -> None:
        try:
            supervise(told.put, stop)
            told.put(None)
        except Exception as error:
            told.put(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield _steps(told)
    finally:
        stop.set()
        thread.join()


def _steps(told: queue.SimpleQueue[Any]) -> Steps[Any, Any]:
    while True:
        try:
            step = told.get(timeout=0.5)
        except queue.Empty:
            yield None
            continue
        if step is None:
            return
        if isinstance(step, BaseException):
            raise step
        yield step
