"""Work of one step side by side: parts of a batch, or parts of an optimizer, each on a thread of its own.

PyTorch's own threads split every single operation and meet again after it, which small models spend more time on than
on arithmetic. Whole parts meet once a step; sums are taken in the order of the parts, so the result does not depend on
who was first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class Threads:
    """`count` threads that compute on one core each; with one, everything runs where it is called."""

    def __init__(self, count: int):
        self.count = count
        self._pool = ThreadPoolExecutor(count, "step", torch.set_num_threads, (1,)) if count > 1 else None

    @classmethod
    def on(cls, device: torch.device) -> Threads:
        """As many as torch was given on a CPU; one for a GPU, which is parallel in itself."""
        return cls(torch.get_num_threads() if device.type == "cpu" else 1)

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Results in the order of `items`. An error is raised here."""
        if self._pool is None or len(items) == 1:
            return [function(item) for item in items]
        return list(self._pool.map(function, items))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown()


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch computes on one thread in here, so that a worker keeps to its core and its sums to their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
