"""Batches come in order, errors where they are due, and nothing is loaded for nobody."""

from __future__ import annotations

import threading

import pytest

from avctl.data.prefetch import prefetched


def test_batches_come_in_order_each_loaded_once() -> None:
    loaded: list[int] = []

    def load(step: int) -> int:
        loaded.append(step)
        return 10 * step

    assert list(prefetched(load, range(3, 12))) == [10 * step for step in range(3, 12)]
    assert loaded == list(range(3, 12))


def test_the_next_batches_are_loaded_while_one_is_used() -> None:
    ready = threading.Event()

    def load(step: int) -> int:
        if step == 2:
            ready.set()
        return step

    batches = prefetched(load, range(10), ahead=2)
    assert next(batches) == 0
    assert ready.wait(10)
    batches.close()


def test_no_more_than_asked_for_is_loaded_ahead() -> None:
    loaded: list[int] = []
    batches = prefetched(loaded.append, range(100), ahead=2)
    next(batches)
    batches.close()  # waits for what has begun
    assert len(loaded) <= 3


def test_an_error_is_raised_where_its_batch_is_due() -> None:
    def load(step: int) -> int:
        if step == 2:
            raise OSError("the disk is gone")
        return step

    batches = prefetched(load, range(5))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)


def test_stopping_early_leaves_no_thread() -> None:
    before = threading.active_count()
    batches = prefetched(lambda step: step, range(1_000))
    assert next(batches) == 0
    batches.close()
    assert threading.active_count() == before


def test_no_steps_are_no_batches() -> None:
    assert list(prefetched(lambda step: step, range(5, 5))) == []
