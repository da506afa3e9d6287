"""A watched clip is judged by its truth, and one that cannot be decoded is wrong in everything."""

from __future__ import annotations

import numpy as np

from avctl.media.synthetic import render
from avctl.metrics.watch import ATTRIBUTES, Footage, unwatchable, watch
from avctl.schema import Synthetic

SCENE = render(2, Synthetic(count=1, size=(32, 32)))
FOOTAGE = Footage(SCENE.frames, SCENE.audio)


def test_a_true_clip_is_right_in_everything() -> None:
    watched = watch(FOOTAGE, 16, 16_000, SCENE.truth)
    assert all(watched.is_right(name) for name in ATTRIBUTES)
    assert watched.events.expected == len(SCENE.truth["events_s"]) and watched.seconds == 2


def test_another_truth_is_wrong() -> None:
    truth = {**SCENE.truth, "colour": "none", "shape": "none", "family": "none"}
    assert not any(watch(FOOTAGE, 16, 16_000, truth).is_right(name) for name in ATTRIBUTES)


def test_without_a_truth_of_the_small_world_peaks_of_motion_are_seen() -> None:
    for truth in (None, {"events_s": [0.5]}, {"family": "film", "title": "a"}):
        watched = watch(FOOTAGE, 16, 16_000, truth)
        assert watched.truth is None and np.array_equal(watched.events.seen_s, watched.peaks_s)


def test_what_cannot_be_decoded_is_wrong_in_everything() -> None:
    watched = unwatchable(2.0, SCENE.truth)
    assert watched.is_failed and not any(watched.is_right(name) for name in ATTRIBUTES)
    assert not len(watched.events.seen_s) and watched.events.expected == len(SCENE.truth["events_s"])
