"""A measure becomes a score with every count beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from avctl.metrics.measures import Measure
from avctl.metrics.score import Record
from avctl.metrics.scoring import score, score_clips, with_ceilings
from avctl.metrics.statistics import mean
from avctl.metrics.watch import unwatchable
from avctl.schema import Eval

RECORD = Record("", "small world 1", (32, 32), 16, 16_000, 2, "text_to_both", resamples=100)
VALUES = [np.array([1.0]), np.array([3.0]), np.empty(0), np.array([2.0])]


def test_used_failed_and_not_applicable_clips_are_counted() -> None:
    made = score(Measure("m", "ms", False, mean, VALUES), [True, False, True, False], RECORD)
    assert (made.value, made.used, made.failed, made.not_applicable) == (2.0, 3, 1, 1)
    assert made.interval and made.interval[0] < 2 < made.interval[1]
    assert made.record.metric == "m"


def test_nothing_to_measure_is_none_and_not_zero() -> None:
    made = score(Measure("m", "ms", False, mean, [np.empty(0)]), [False], RECORD)
    assert made.value is None and made.interval is None


def test_ceilings_are_found_by_name() -> None:
    made = score(Measure("m", "", True, mean, VALUES), [False] * 4, RECORD)
    other = replace(made, name="other")
    both = with_ceilings([made, other], [replace(made, value=9.0)], [replace(other, value=8.0)])
    assert [(s.ceiling, s.codec_ceiling) for s in both] == [(9.0, None), (None, 8.0)]


def test_the_recipe_says_which_metrics_there_are() -> None:
    truth = {"colour": "red", "shape": "disc", "family": "blink", "events_s": [0.5]}
    clips = [unwatchable(2.0, truth) for _ in range(3)]
    everything = score_clips(clips, Eval(resamples=10), RECORD)
    assert {s.name for s in everything} >= {"colour", "event error / chance", "onset F1 within 100 ms", "AV-Align"}
    assert all(s.failed == s.used for s in everything) and everything[0].used == 3
    assert [s.name for s in score_clips(clips, Eval(metrics=("adherence",)), RECORD)] == [
        "colour",
        "shape",
        "family",
        "pitch",
    ]
