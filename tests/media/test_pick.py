"""One rule says which frame is shown at a time."""

from __future__ import annotations

import numpy as np

from avctl.media.pick import pick


def test_the_nearest_frame_is_picked_and_the_earlier_of_two() -> None:
    times = np.arange(50) / 25
    assert pick(times, np.array([0.0, 0.019, 0.02, 0.0205, 0.06, 1.0]), 0.04).tolist() == [0, 0, 0, 1, 1, 25]


def test_a_long_still_picture_stays_until_the_next_begins() -> None:
    times = np.array([0.0, 0.04, 0.08, 0.8, 0.84])
    assert pick(times, np.array([0.1, 0.5, 0.77, 0.79, 0.8]), 0.04).tolist() == [2, 2, 2, 3, 3]


def test_before_the_first_frame_is_the_first_and_after_the_last_the_last() -> None:
    times = np.array([0.5, 0.54])
    assert pick(times, np.array([0.0, 9.0]), 0.04).tolist() == [0, 1]
