"""Stretches of a long file are proposed from keyframes: spread over it, apart, the most promising first."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from avctl.curate.proposals import TRIES, Keyframe, among, glance, guessed, propose
from avctl.curate.shots import Pictures

NOISE = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)


def key(time_s: float, sharpness: float = 1.0, thumbnail: np.ndarray = NOISE) -> Keyframe:
    return Keyframe(time_s, thumbnail, sharpness)


def test_each_part_of_the_file_gives_its_sharpest_stretch_first() -> None:
    keys = [key(float(t), sharpness=float(t in (7, 12, 28, 33))) for t in range(40)]
    assert list(propose(keys, (0.0, 40.0), 2.0, 4))[:4] == [(7.0, 9.0), (12.0, 14.0), (28.0, 30.0), (33.0, 35.0)]


def test_further_tries_come_after_a_first_one_in_every_part_and_never_overlap() -> None:
    found = list(propose([key(float(t)) for t in range(100)], (0.0, 100.0), 3.0, 5))
    assert sorted(int(begin // 20) for begin, _ in found[:5]) == [0, 1, 2, 3, 4]
    assert len(found) <= 5 * TRIES
    begins = sorted(begin for begin, _ in found)
    assert min(np.diff(begins)) >= 3.0


def test_a_change_of_scene_or_a_flat_picture_makes_a_stretch_the_last_choice() -> None:
    black, other = np.zeros_like(NOISE), 255 - NOISE
    keys = [key(0.0, 9.0, black), key(3.0, 5.0), key(4.0, 5.0, other), key(7.0, 1.0, other)]
    assert [begin for begin, _ in propose(keys, (0.0, 10.0), 2.0, 1)] == [4.0, 7.0]
    assert [begin for begin, _ in propose(keys[:2], (0.0, 10.0), 2.0, 1)] == [3.0, 0.0]


def test_stretches_stay_inside_the_span() -> None:
    keys = [key(float(t)) for t in range(20)]
    assert all(begin >= 4.0 and end <= 18.0 for begin, end in propose(keys, (4.0, 18.0), 2.5, 3))


def test_a_part_without_a_keyframe_is_tried_at_its_begin() -> None:
    assert list(propose([key(0.0)], (0.0, 30.0), 2.0, 3)) == [(0.0, 2.0), (10.0, 12.0), (20.0, 22.0)]


def test_a_file_of_keyframes_alone_costs_no_more_a_frame_than_any_other() -> None:
    keys = [Counted(k / 25, NOISE, 1.0) for k in range(2_000)]
    list(propose(keys, (0.0, 80.0), 2.0, 1))
    assert Counted.num_reads < 20 * len(keys)


class Counted(Keyframe):
    """Counts how often the time of any of them is asked for."""

    num_reads = 0

    def __getattribute__(self, name: str) -> Any:
        Counted.num_reads += name == "time_s"
        return super().__getattribute__(name)


@pytest.mark.parametrize("name", ["yuv420p", "yuv420p10le"])
def test_a_glance_keeps_time_colour_and_sharpness(name: str) -> None:
    pixels = np.zeros((90, 160, 3), np.uint8)
    pixels[:, 80:] = (250, 10, 10)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=name)
    frame.pts, frame.time_base = 3, Fraction(1, 2)
    (found,) = glance(iter([frame]))
    assert found.time_s == 1.5
    assert found.thumbnail[4, 2].max() < 30 and found.thumbnail[4, 14, 0] > 200 > 60 > found.thumbnail[4, 14, 1]
    assert found.sharpness > 1


def test_a_frame_is_guessed_to_be_as_sharp_as_the_keyframe_before_it() -> None:
    seen = guessed([0.0, 0.5, 1.0, 1.5, 2.0], [key(0.5, 7.0), key(1.5, 9.0)])
    assert seen.sharpness.tolist() == [7.0, 7.0, 7.0, 9.0, 9.0]
    assert (seen.times.tolist(), seen.shots.tolist()) == ([0.0, 0.5, 1.0, 1.5, 2.0], [[0, 5]])


def test_around_a_stretch_keyframes_that_differ_are_cuts() -> None:
    dark = np.zeros_like(NOISE)
    keys = [key(float(at), thumbnail=dark if at in (1, 6, 7) else NOISE) for at in range(10)]
    seen = Pictures(np.arange(40, 72) / 10, np.ones(32), np.array([[0, 20], [20, 32]]), np.array([6.0]))
    found = among(keys, seen).cuts_s
    assert found is not None and sorted(found) == [1.0, 2.0, 6.0, 8.0]  # between 4.0 and 7.1, a detector looked
    assert among(keys, replace(seen, cuts_s=None)).cuts_s is None
