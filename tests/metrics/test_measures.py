"""What is measured, of clips that were watched and of clips that were made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from avctl.metrics.heard import Heard
from avctl.metrics.measures import Measure, adherence, alignment, event_error, onset_agreement
from avctl.metrics.seen import Seen
from avctl.metrics.statistics import pooled
from avctl.metrics.watch import Watched, unwatchable

COLOURS = ("red", "green", "blue")


def watched(i: int, late_s: float = 0.0) -> Watched:
    """A clip read right, its sound late by so much. Every third clip has one colour and one rhythm."""
    times = np.array([0.3 + 0.11 * (i % 3), 0.9 + 0.05 * (i % 3), 1.5])
    truth: dict[str, Any] = {"colour": COLOURS[i % 3], "shape": "disc", "family": "blink", "events_s": times.tolist()}
    heard = Heard(300.0, COLOURS[i % 3], "disc", 0.0, times + late_s)
    return Watched(truth, Seen(COLOURS[i % 3], "disc", "blink", times), heard, times, 2.0)


def value(measures: list[Measure], name: str, floor: str | None = None) -> float:
    measure = next(m for m in measures if m.name == name)
    values = measure.wrong[floor] if floor else measure.values
    return pooled(measure.statistic, values, range(len(values)))


def test_adherence_counts_clips_and_its_floor_the_luck_of_equal_truths() -> None:
    clips = [watched(i) for i in range(9)]
    clips[0] = replace(clips[0], seen=replace(clips[0].seen, colour=None))
    measures = adherence(clips, "text_to_both")
    assert value(measures, "colour") == pytest.approx(100 * 8 / 9)
    assert value(measures, "pitch") == 100
    assert value(measures, "pitch", "truth of other clips") == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("task", "names"), [("audio_to_video", ["colour", "shape", "family"]), ("video_to_audio", ["pitch"])]
)
def test_what_was_given_is_not_scored(task: str, names: list[str]) -> None:
    assert [m.name for m in adherence([watched(i) for i in range(3)], task)] == names


def test_clips_without_a_truth_do_not_apply() -> None:
    clips = [watched(0), replace(watched(1), truth=None)]
    assert [len(v) for v in adherence(clips, "text_to_both")[0].values] == [1, 0]
    assert adherence(clips[1:], "text_to_both") == []


def test_a_late_sound_has_its_delay_as_error_and_sign() -> None:
    measures = event_error([watched(i, late_s=0.04) for i in range(9)], seed=0)
    assert value(measures, "event error, median") == pytest.approx(40)
    assert value(measures, "event error, signed median") == pytest.approx(40)
    assert value(measures, "event error, median", "silence") == 500
    chance = value(measures, "event error, median", "sound of other clips")
    assert value(measures, "event error / chance") == pytest.approx(40 / chance)
    assert value(measures, "event error / chance", "sound of other clips") == pytest.approx(1)


def test_nothing_at_all_is_the_worst_error_and_no_onset_agrees() -> None:
    nothing = [unwatchable(2.0, watched(i).truth) for i in range(4)]
    assert value(event_error(nothing, 0), "event error, median") == 500
    assert np.isnan(value(event_error(nothing, 0), "event error, signed median"))  # neither early nor late
    assert value(onset_agreement(nothing, 0.1, 0), "onset F1 within 100 ms") == 0


def test_onsets_agree_within_their_tolerance() -> None:
    measures = onset_agreement([watched(i, late_s=0.055) for i in range(9)], 0.1, seed=0)
    assert value(measures, "onset F1 within 100 ms") == 1
    assert value(measures, "onset F1 within 62.5 ms") == 1
    assert value(measures, "onset F1 within 50 ms") == 0
    assert value(measures, "onset F1 within 100 ms", "silence") == 0


def test_alignment_needs_no_truth_and_leaves_out_what_is_still_and_silent() -> None:
    still = Watched(
        None, Seen(None, None, None, np.empty(0)), Heard(None, None, None, None, np.empty(0)), np.empty(0), 2.0
    )
    plain, beyond = alignment([replace(watched(0), truth=None), still, unwatchable(2.0, None)], 16, seed=0)
    assert [len(values) for values in plain.values] == [1, 0, 1]
    assert plain.values[0] == 1 and beyond.values[0] == 1 and plain.values[2] == 0
