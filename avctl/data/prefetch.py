"""Loads the next batches while the model works on this one: in a thread, or in processes of their own.

A position is the number of batches that all ranks together have been given: rank r of w takes positions p + r,
p + r + w and so on. It is all that resuming needs, with the same number of ranks or another.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

import torch

from avctl.compute.memory import keep_freed_memory
from avctl.job import MachineError, deaf_children

T = TypeVar("T")
R = TypeVar("R")


def positions(done: int, stop: int, rank: int = 0, world: int = 1) -> range:
    """What one of `world` ranks loads after `done` batches, up to `stop`."""
    return range(done + rank, stop, world)


def prefetched(
    load: Callable[[int], T], finish: Callable[[T], R], positions: range, workers: int = 0, ahead: int = 2
) -> Generator[R, None, None]:
    """finish(load(position)) for every position in order, `ahead` of them begun early, for each worker.

    `load` runs in `workers` spawned processes, to which it is sent by pickle; with none, where `finish` always runs: in
    a thread of this process. Batches do not depend on how many there are. An error is raised where its batch is due,
    MachineError where a process was killed. Closing ends the processes; they do not hear Ctrl-C, and die with this one.
    """
    with _submitter(load, workers) as submit, ThreadPoolExecutor(max_workers=1) as thread:
        waiting: deque[Future[R]] = deque()
        todo = iter(positions)
        try:
            for _ in positions:
                while len(waiting) <= ahead * max(1, workers) and (position := next(todo, None)) is not None:
                    waiting.append(thread.submit(lambda loaded: finish(loaded()), submit(position)))
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _submitter(load: Callable[[int], T], workers: int) -> Iterator[Callable[[int], Callable[[], T]]]:
    """A function that has a position loaded, and gives the function that waits for it. MachineError where either meets
    a process that was killed."""
    if not workers:
        yield lambda position: lambda: load(position)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (load,))

    def submit(position: int) -> Callable[[], T]:
        with deaf_children():  # the pool starts its processes when it is given work
            return pool.submit(_load, position).result

    try:
        yield submit
    except BrokenProcessPool as error:  # of a result, or of the next position that is submitted
        raise MachineError(
            "a process that loads batches was killed",
            hint="it may have lacked memory, or room in /dev/shm; `-o runtime.loaders=0` loads in this process",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_loader: Callable[[int], Any]  # of a worker process


def _start(load: Callable[[int], Any]) -> None:
    global _loader
    _loader = load
    keep_freed_memory()
    torch.set_num_threads(1)
    Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _load(position: int) -> Any:
    return _loader(position)
