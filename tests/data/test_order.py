"""Every clip once an epoch, and no state but the step."""

from __future__ import annotations

import pytest

from avctl.data.order import Order


@pytest.mark.parametrize(("count", "batch"), [(10, 5), (10, 3), (7, 7), (3, 8), (1, 2)])
def test_every_clip_comes_once_an_epoch(count: int, batch: int) -> None:
    order = Order(count, batch, seed=0)
    drawn = [i for step in range(6 * count) for i in order(step)]
    for epoch in range(6 * batch):
        assert sorted(drawn[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    forward = [Order(10, 4, seed=3)(step) for step in range(20)]
    order = Order(10, 4, seed=3)
    assert [order(step) for step in reversed(range(20))] == forward[::-1]


def test_epochs_and_seeds_differ() -> None:
    order = Order(50, 50, seed=0)
    assert order(0) != order(1)
    assert order(0) != Order(50, 50, seed=1)(0)


def test_no_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="no clips"):
        Order(0, 4, seed=0)
