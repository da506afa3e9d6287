"""Loads the next batches in a thread while the model works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetched(load: Callable[[int], T], steps: range, ahead: int = 2) -> Generator[T, None, None]:
    """load(step) for every step in order, `ahead` of them begun early. An error is raised where its batch is due."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting: deque[Future[T]] = deque()
        try:
            for step in steps:
                while len(waiting) <= ahead and step + len(waiting) < steps.stop:
                    waiting.append(thread.submit(load, step + len(waiting)))
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
