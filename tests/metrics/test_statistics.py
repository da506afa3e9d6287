"""Intervals cover what they claim, and are functions of the seed."""

from __future__ import annotations

import numpy as np
import pytest

from avctl.metrics.statistics import f1, interval, mean, median_size, pooled, precision, ratio_to_other, recall


def test_nine_intervals_of_ten_and_more_hold_the_truth() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        clips = [rng.normal(3.0, 1.0, 1) for _ in range(40)]
        low, high = interval(mean, clips, 200, seed=trial) or (0, 0)
        held += low <= 3.0 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_the_clip_is_the_unit() -> None:
    rng = np.random.default_rng(0)
    clips = [np.full(50, rng.normal()) for _ in range(20)]  # fifty equal events are one observation
    low, high = interval(mean, clips, 400, seed=0) or (0, 0)
    assert high - low > 0.5


def test_equal_seeds_give_equal_intervals() -> None:
    clips = [np.array([float(i)]) for i in range(10)]
    assert interval(median_size, clips, 100, 1) == interval(median_size, clips, 100, 1)
    assert interval(mean, clips, 100, 1) != interval(mean, clips, 100, 2)


@pytest.mark.parametrize("clips", [[], [np.ones(1)], [np.empty(0), np.empty(0)]])
def test_too_little_has_no_interval(clips: list[np.ndarray]) -> None:
    assert interval(mean, clips, 100, 0) is None


def test_clips_that_gave_nothing_are_left_out() -> None:
    assert pooled(mean, [np.array([1.0, 2.0]), np.empty(0), np.array([3.0])], range(3)) == 2
    assert np.isnan(pooled(mean, [np.empty(0)], range(1)))


def test_rates_are_of_all_clips_together() -> None:
    table = np.array([(2, 2, 4), (0, 2, 0)])  # matched, seen, heard
    assert (precision(table), recall(table), f1(table)) == (0.5, 0.5, 0.5)
    assert precision(np.array([(0, 3, 0)])) == 0


def test_the_ratio_is_of_medians() -> None:
    table = np.array([(10.0, 0), (-20.0, 0), (30.0, 0), (100.0, 1), (-200.0, 1), (300.0, 1)])
    assert ratio_to_other(table) == 0.1
    assert np.isnan(ratio_to_other(table[:3]))
