"""Event times move with the clip."""

from __future__ import annotations

import json

from avctl.curate.truth import shift

TRUTH = json.dumps({"family": "bounce", "events_s": [0.25, 0.5, 1.75, 2.5], "event_kinds": ["a", "b", "c", "d"]})


def test_events_are_told_on_the_clock_of_the_clip() -> None:
    moved = shift(TRUTH, 0.5, 2.0)
    assert moved is not None
    assert json.loads(moved) == {"family": "bounce", "events_s": [0.0, 1.25], "event_kinds": ["b", "c"]}


def test_no_truth_stays_none() -> None:
    assert shift(None, 0.5, 2.0) is None
