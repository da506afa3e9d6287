"""Batches of one bucket, every clip once an epoch, and no state but the number."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest

from avctl.data.batches import Batches, sizes
from avctl.data.order import Order
from avctl.data.prefetch import positions

BUCKETS = ["wide"] * 23 + ["tall"] * 8 + ["short"] * 40 + ["rare"]
SIZES = {"wide": 4, "tall": 3, "short": 7, "rare": 5}


def mixed(seed: int = 0) -> Batches:
    return Batches(Order(len(BUCKETS), seed), BUCKETS, SIZES)


@pytest.mark.parametrize(("count", "batch"), [(10, 5), (10, 3), (7, 7), (3, 8), (1, 2)])
def test_one_bucket_is_the_epochs_end_to_end(count: int, batch: int) -> None:
    order = Order(count, 0)
    batches = Batches(order, [0] * count, {0: batch})
    drawn = [i for number in range(6 * count) for i in batches(number)]
    assert drawn == [i for epoch in range(6 * batch) for i in order.epoch(epoch)][: len(drawn)]


def test_a_batch_is_of_one_bucket_and_of_its_size() -> None:
    for number in range(100):
        buckets = {BUCKETS[clip] for clip in mixed()(number)}
        assert len(buckets) == 1
        assert len(mixed()(number)) == SIZES[buckets.pop()]


def test_nothing_is_lost_and_nothing_comes_early() -> None:
    """After 420 epochs, which every batch size divides, each clip has come 420 times; within each of its bucket's
    epochs it comes once."""
    batches = mixed()
    streams: dict[str, list[int]] = {bucket: [] for bucket in SIZES}
    for number in range(batches.before(420)):
        clips = batches(number)
        streams[BUCKETS[clips[0]]] += clips
    for bucket, stream in streams.items():
        clips = [i for i, each in enumerate(BUCKETS) if each == bucket]
        assert len(stream) == 420 * len(clips)
        for epoch in range(420):
            assert sorted(stream[epoch * len(clips) : (epoch + 1) * len(clips)]) == clips


def test_batches_before_an_epoch_are_those_that_could_be_filled() -> None:
    batches = mixed()
    for epoch in (1, 2, 7):
        seen = Counter(BUCKETS[clip] for number in range(batches.before(epoch)) for clip in batches(number))
        for bucket, count in Counter(BUCKETS).items():
            assert epoch * count - SIZES[bucket] < seen[bucket] <= epoch * count


def test_buckets_are_mixed_all_through_an_epoch() -> None:
    batches = Batches(Order(200, 0), ["a", "b"] * 100, {"a": 5, "b": 5})
    halves = [Counter(batches(number)[0] % 2 for number in half) for half in (range(20), range(20, 40))]
    assert all(5 <= half[0] <= 15 for half in halves)


def test_a_batch_is_a_function_of_its_number() -> None:
    forward = [mixed()(number) for number in range(60)]
    batches = pickle.loads(pickle.dumps(mixed()))
    assert [batches(number) for number in reversed(range(60))] == forward[::-1]
    assert batches(100_003) == mixed()(100_003)
    assert forward != [mixed(seed=1)(number) for number in range(60)]


@pytest.mark.parametrize("worlds", [(1, 1), (1, 2), (4, 1), (3, 2), (2, 5, 3)])
def test_a_run_that_goes_on_with_other_ranks_repeats_and_loses_nothing(worlds: tuple[int, ...]) -> None:
    """Killed at every position: the union of what all ranks load is what one rank would have loaded."""
    batches, stop = mixed(), 60
    expected = [batches(number) for number in range(stop)]
    for step in range(1, 8):
        loaded: dict[int, list[int]] = {}
        done = 0
        for run, world in enumerate(worlds, 1):
            steps = step if run < len(worlds) else stop
            for rank in range(world):
                for number in list(positions(done, stop, rank, world))[:steps]:
                    assert number not in loaded
                    loaded[number] = batches(number)
            done += steps * world
        assert [loaded[number] for number in sorted(loaded)] == expected


def test_sizes_fill_the_budget() -> None:
    assert sizes({"wide": 100, "short": 30, "huge": 150}, 130) == {"wide": 1, "short": 4, "huge": 1}
