from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from avctl.curate.refine import PER_S, Refiner, unlike
from avctl.schema import Refine

FPS = 24


def refined(frames: np.ndarray, shots: list[tuple[int, int]]) -> list[list[int]]:
    refiner = Refiner(Refine())
    assert refiner.size == frames.shape[1:3]
    for index, frame in enumerate(frames):
        if refiner.wants(index / FPS):
            refiner.add(index, frame)
    return refiner.changes(np.array(shots).reshape(-1, 2)).tolist()


def test_a_dissolve_is_cut_out_of_a_shot(scene: Callable[..., np.ndarray]):
    a, b = scene(1, 60, (224, 224)), scene(2, 60, (224, 224), is_tiled=True)
    share = np.linspace(0, 1, 12)[:, None, None, None]
    blend = ((1 - share) * a[48:] + share * b[:12]).astype(np.uint8)
    frames = np.concatenate([a[:48], blend, b[12:]])
    ((behind, first),) = refined(frames, [(0, 108)])
    assert 36 <= behind <= 50
    assert 58 <= first <= 72
    assert refined(frames, [(0, 48), (60, 108)]) == []


def test_a_scene_that_drifts_stays_whole(scene: Callable[..., np.ndarray]):
    assert refined(scene(1, 72, (224, 224)), [(0, 72)]) == []


def directions(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_sudden_change_lies_between_two_samples():
    assert unlike(directions(*[0] * 8, *[90] * 8), 0.75) == [(6, 9)]


def test_a_slow_change_takes_all_that_it_spans():
    vectors = directions(*[0] * 6, 18, 36, 54, 72, *[90] * 6)
    ((behind, first),) = unlike(vectors, 0.75)
    inside = np.r_[vectors[:behind], vectors[first:]]
    assert behind <= 6 and first >= 9
    assert len(inside) >= 8


@pytest.mark.parametrize("seed", range(10))
def test_no_part_keeps_two_unlike_samples_a_second_apart(seed: int):
    steps = np.random.default_rng(seed).choice([0, 0, 0, 10, 40], 80)
    vectors = directions(*np.cumsum(steps))
    changes = unlike(vectors, 0.75)
    edges = [0, *(edge for change in changes for edge in change), len(vectors)]
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        part = vectors[begin:end]
        assert all((part[k] * part[k + PER_S]).sum() >= 0.75 for k in range(len(part) - PER_S))


def test_samples_are_the_first_frames_of_quarters():
    refiner = Refiner(Refine())
    assert [k for k in range(25) if refiner.wants(1.0 + k / 24)] == [0, 6, 12, 18, 24]
