"""Matching and distances of event times, against brute force and against what is plain."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from avctl.metrics.events import NOTHING_S, Events, counts, errors, num_matched


def clip(seen: list[float], heard: list[float], expected: int = 1) -> Events:
    return Events(np.array(seen), np.array(heard), 2.0, expected)


def brute_force(a: np.ndarray, b: np.ndarray, tolerance_s: float) -> int:
    """The best of all one-to-one assignments."""
    short, long = sorted((a, b), key=len)
    return max(
        sum(abs(x - y) <= tolerance_s for x, y in zip(short, order, strict=True))
        for order in permutations(long, len(short))
    )


def test_the_matching_is_the_largest_there_is() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (rng.random(rng.integers(0, 5)) for _ in range(2))
        assert num_matched(a, b, 0.15) == brute_force(a, b, 0.15)


def test_one_onset_does_not_serve_two_events() -> None:
    assert counts(clip([0.5, 0.55], [0.52]), 0.1) == (1, 2, 1)


def test_what_happens_at_the_very_end_is_not_missed_but_may_match() -> None:
    assert counts(clip([0.5, 1.97], [0.5]), 0.1) == (1, 1, 1)
    assert counts(clip([0.5, 1.97], [0.5, 1.95]), 0.1) == (2, 2, 2)
    assert counts(clip([0.01, 0.5], [0.5]), 0.1) == (1, 1, 1)


def test_errors_go_both_ways_and_are_positive_where_the_sound_is_late() -> None:
    assert errors(clip([0.5, 1.0], [0.53, 1.03])) == pytest.approx([0.03] * 4)
    assert errors(clip([0.53], [0.5])) == pytest.approx([-0.03] * 2)
    assert errors(clip([0.5], [0.5, 0.8])) == pytest.approx([0.0, 0.0, 0.3])


def test_silence_and_darkness_are_no_agreement() -> None:
    assert errors(clip([0.5, 1.0], [])) == pytest.approx([NOTHING_S] * 2)
    assert errors(clip([], [0.5])) == pytest.approx([NOTHING_S])
    assert errors(clip([], [], expected=3)) == pytest.approx([NOTHING_S] * 3)
    assert counts(clip([], [], expected=3), 0.1) == (0, 3, 3)
    assert counts(clip([0.5], []), 0.1) == (0, 1, 0)
