"""What happens in the small world, against its own motion."""

from __future__ import annotations

import json
from collections import Counter
from itertools import product

import numpy as np
import pytest

from avctl.media.synthetic.world import (
    COLOURS,
    FAMILIES,
    FLOOR,
    FREQUENCIES_HZ,
    GRAVITY,
    HALF_HEIGHT,
    MATERIALS,
    PERIODS_S,
    PLACES,
    SHAPES,
    SIZES,
    World,
    draw,
    unseen_triples,
)
from avctl.schema import Synthetic

SPEC = Synthetic(count=400, seed=3)
WORLDS = [draw(index, SPEC) for index in range(400)]
BOUNCING = [world for world in WORLDS if world.family == "bounce"]


def crossings(world: World) -> np.ndarray:
    """Times at which the lowest point of the object is within a hair of the floor and turns around."""
    t = np.linspace(0, world.seconds, 200_001)
    _, y = world.centre(t)
    bottom = y + HALF_HEIGHT[world.shape] * world.radius
    turns = (bottom[1:-1] >= bottom[:-2]) & (bottom[1:-1] > bottom[2:]) & (bottom[1:-1] > FLOOR - 1e-3)
    return t[1:-1][turns]


def test_a_scene_is_a_function_of_seed_and_index() -> None:
    assert draw(5, SPEC).truth == draw(5, SPEC).truth
    assert draw(5, SPEC).truth != draw(6, SPEC).truth
    assert draw(5, SPEC).truth != draw(5, Synthetic(count=1, seed=4)).truth


def test_the_length_of_the_clip_changes_nothing_else() -> None:
    short, long = draw(5, SPEC), draw(5, Synthetic(count=1, seed=3, seconds=10.0))
    assert long.truth["events_s"][: len(short.events)] == short.truth["events_s"]
    assert max(long.truth["events_s"]) > 9


def test_the_object_touches_the_floor_at_the_events_and_only_then() -> None:
    for world in BOUNCING[:40]:
        floor = [t for t, kind in world.events if kind == "floor"]
        assert np.allclose(crossings(world), floor, atol=1e-4)


def test_the_object_turns_at_the_walls_at_the_events_and_only_then() -> None:
    hits = 0
    for world in BOUNCING:
        t = np.linspace(0, world.seconds, 20_001)
        x, _ = world.centre(t)
        assert (x >= world.radius - 1e-9).all() and (x <= world.width - world.radius + 1e-9).all()
        turns = t[1:-1][np.diff(np.sign(np.diff(x))) != 0]
        walls = [time for time, kind in world.events if kind == "wall"]
        assert np.allclose(turns, walls, atol=2e-4)
        hits += len(walls)
    assert hits > 20


def test_nothing_jumps_and_between_impacts_only_gravity_acts() -> None:
    for world in BOUNCING[:40]:
        t = np.linspace(0, world.seconds, 20_001)
        x, y = world.centre(t)
        assert np.abs(np.diff(y)).max() < 4e-4 and np.abs(np.diff(x)).max() < 1e-4  # below 4 and 1 frame heights / s
        acceleration = np.diff(y, 2) / (t[1] - t[0]) ** 2
        assert np.median(acceleration) == pytest.approx(GRAVITY, rel=1e-3)
        assert np.mean(np.abs(acceleration - GRAVITY) > 0.01) < 0.002  # but at the impacts


def test_the_mallet_arrives_and_the_light_goes_on_at_the_events() -> None:
    for world in WORLDS[:60]:
        events = np.array([t for t, kind in world.events if kind in ("strike", "light")])
        if world.family == "strike":
            assert (world.mallet(events) < 1e-6).all()
        if len(events):
            assert (world.brightness(events + 1e-6) > 0.99).all() and (world.brightness(events - 1e-6) < 0.45).all()


def test_the_first_event_comes_within_the_first_period() -> None:
    for world in WORLDS:
        assert world.events and 0.04 < world.events[0][0] <= PERIODS_S[world.family][1]
        assert np.diff([t for t, kind in world.events if kind != "wall"]).min(initial=1) > 0.29


def test_attributes_are_drawn_evenly() -> None:
    for name, values in {
        "colour": COLOURS,
        "shape": SHAPES,
        "family": FAMILIES,
        "size": SIZES,
        "place": PLACES,
    }.items():
        counts = Counter(getattr(world, name) for world in WORLDS)
        assert set(counts) == set(values)
        assert max(counts.values()) < 1.5 * len(WORLDS) / len(values)
    assert {world.material for world in WORLDS} == set(MATERIALS)


def test_the_six_pitches_are_six_pitch_classes() -> None:
    semitones = 12 * np.log2(np.array(FREQUENCIES_HZ) / FREQUENCIES_HZ[0])
    assert np.allclose(semitones, 5 * np.arange(6))
    assert len({round(s) % 12 for s in semitones.tolist()}) == 6


def test_the_truth_is_plain_data_in_order_of_time() -> None:
    for world in WORLDS[:50]:
        truth = json.loads(json.dumps(world.truth))
        assert truth == world.truth
        assert truth["events_s"] == sorted(truth["events_s"]) and len(truth["events_s"]) == len(truth["event_kinds"])
        assert all(0 <= t < world.seconds for t in truth["events_s"])


@pytest.mark.parametrize("count", [0, 1, 9, 18, 27])
def test_unseen_triples_grow_and_are_exactly_so_many(count: int) -> None:
    assert len(unseen_triples(count)) == count
    assert unseen_triples(count) <= unseen_triples(27)


def test_each_pair_of_attributes_is_seen_while_18_triples_are_not() -> None:
    seen = set(product(COLOURS, SHAPES, FAMILIES)) - unseen_triples(18)
    assert {(c, s) for c, s, _ in seen} == set(product(COLOURS, SHAPES))
    assert {(c, f) for c, _, f in seen} == set(product(COLOURS, FAMILIES))
    assert {(s, f) for _, s, f in seen} == set(product(SHAPES, FAMILIES))
