"""Clips of any length fill packs, every clip once an epoch, and little of a pack stays empty."""

from __future__ import annotations

import pickle
import random
from collections import Counter

import pytest

from avctl.data import packs as module
from avctl.data.order import Order
from avctl.data.packs import Packs
from avctl.data.prefetch import positions

# Tokens of clips of three sizes and four lengths, of images and of sound alone.
CHOICES = [h * w * f + s for h, w in ((8, 14), (14, 8), (16, 16)) for f, s in ((1, 0), (13, 50), (25, 100), (61, 250))]


def realistic(count: int, seed: int = 0) -> list[int]:
    chance = random.Random(seed)
    return [chance.choice([*CHOICES, 250]) for _ in range(count)]


def packs(count: int = 600, seed: int = 0, budget: int = 32_768) -> Packs:
    return Packs(Order(count, seed), realistic(count), budget)


def test_every_clip_comes_once_an_epoch_and_no_pack_overflows() -> None:
    """What an epoch leaves comes in the next one, before a clip comes again."""
    made = packs()
    found = [pack for epoch in range(3) for pack in made.epoch(epoch)]
    assert all(0 < sum(made.lengths[clip] for clip in pack) <= made.budget for pack in found)
    counts = Counter(clip for pack in found for clip in pack)
    assert set(counts) == set(range(600)) and set(counts.values()) == {2, 3}
    left = {clip for clip, count in counts.items() if count == 2}
    assert sum(made.lengths[clip] for clip in left) <= made.budget
    assert left <= {clip for pack in made.epoch(3)[:4] for clip in pack}


def test_few_clips_make_packs_over_epochs() -> None:
    made, order = Packs(Order(9, 0), [10] * 9, 40), Order(9, 0)
    stream = [clip for epoch in range(8) for clip in order.epoch(epoch)]
    assert [made(number) for number in range(12)] == [stream[4 * i : 4 * i + 4] for i in range(12)]
    small = Packs(Order(3, 0), [10] * 3, 100)
    assert [len(small.epoch(epoch)) for epoch in range(4)] == [0, 0, 0, 1]
    assert sorted(small(0)) == sorted([*range(3)] * 3 + small(0)[-1:]) and small.waste() == 0


@pytest.mark.parametrize("budget", [16_384, 32_768, 65_536])
def test_little_of_a_pack_stays_empty(budget: int) -> None:
    made = packs(5_000, budget=budget)
    used = sum(made.lengths[clip] for pack in made.epoch(0) for clip in pack)
    assert made.waste() == pytest.approx(1 - used / (budget * len(made.epoch(0))))
    assert made.waste() < 0.05


def test_a_pack_of_one_clip_each_where_no_two_fit() -> None:
    made = Packs(Order(7, 0), [60] * 7, 100)
    assert [len(pack) for pack in made.epoch(0)] == [1] * 6
    assert made.waste() == pytest.approx(0.4)


def test_no_clip_waits_longer_than_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack begins with the clip that has waited longest: after so many packs, as many of the first clips are gone."""
    monkeypatch.setattr(module, "WINDOW", 10)
    made = packs(300)
    order = made.order.epoch(0)
    for number, pack in enumerate(made.epoch(0)):
        taken = {clip for each in made.epoch(0)[: number + 1] for clip in each}
        assert set(order[: number + 1]) <= taken
        before = sum(map(len, made.epoch(0)[:number]))
        assert all(order.index(clip) < before + len(pack) + 10 for clip in pack)


def test_a_pack_is_a_function_of_its_number() -> None:
    forward = [packs()(number) for number in range(120)]
    made = pickle.loads(pickle.dumps(packs()))
    assert [made(number) for number in reversed(range(120))] == forward[::-1]
    assert len(packs().epoch(0)) < 120  # more than one epoch
    assert forward != [packs(seed=1)(number) for number in range(120)]


@pytest.mark.parametrize("worlds", [(1, 2), (4, 3), (2, 5, 1)])
def test_packs_go_on_with_other_ranks(worlds: tuple[int, ...]) -> None:
    made = packs()
    stop = len(made.epoch(0))
    for step in (1, 2, 3):
        loaded: list[int] = []
        done = 0
        for world in worlds:
            steps = step if world != worlds[-1] else stop
            for rank in range(world):
                loaded += [clip for n in list(positions(done, stop, rank, world))[:steps] for clip in made(n)]
            done += steps * world
        assert sorted(loaded) == sorted(clip for pack in made.epoch(0) for clip in pack)


def test_a_clip_that_fits_no_pack_is_refused() -> None:
    with pytest.raises(ValueError, match="101 tokens does not fit into a pack of 100"):
        Packs(Order(2, 0), [50, 101], 100)
