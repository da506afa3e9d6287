"""Scores that were measured in different ways refuse to stand side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from avctl.metrics.score import NotComparable, Record, Score, comparable

RECORD = Record("colour", "small world 1", (32, 32), 16, 16_000, 2, "text_to_both", resamples=1_000)
SCORE = Score("colour", 90.0, (85.0, 95.0), "%", True, 128, 1, 0, RECORD, chance=16.7)


def test_scores_with_equal_records_compare_whatever_their_values() -> None:
    comparable(SCORE, replace(SCORE, value=10.0, used=64, failed=0))


@pytest.mark.parametrize(
    "change",
    [
        {"reader": "other"},
        {"size": (64, 64)},
        {"fps": 24},
        {"sample_rate": 8_000},
        {"task": "video_to_audio"},
        {"tolerance_s": 0.1},
        {"version": 0},
        {"decoder": "another"},
        {"seed": 7},
    ],
)
def test_any_difference_of_the_records_is_refused_by_name(change: dict[str, Any]) -> None:
    with pytest.raises(NotComparable, match=next(iter(change))):
        comparable(SCORE, replace(SCORE, record=replace(RECORD, **change)))


def test_different_metrics_are_refused() -> None:
    with pytest.raises(NotComparable, match=r"`colour` and `shape`"):
        comparable(SCORE, replace(SCORE, name="shape"))


def test_plain_data_has_null_for_what_is_no_number() -> None:
    plain = replace(SCORE, value=None, floors={"silence": float("nan")}).to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["floors"]["silence"] is None and plain["record"]["decoder"].startswith("PyAV")
