"""Wrong sound is wrong, and there is as much of it."""

from __future__ import annotations

import numpy as np

from avctl.metrics.events import Events
from avctl.metrics.floors import all_floors

CLIPS = [Events(np.array([0.5, 1.0]), np.array([0.5 + i / 100, 1.2]), 2.0) for i in range(12)]


def test_every_floor_keeps_the_pictures_and_changes_the_sound() -> None:
    for group in all_floors(CLIPS, seed=0).values():
        assert len(group) == len(CLIPS)
        for clip, wrong in zip(CLIPS, group, strict=True):
            for other in wrong:
                assert other.seen_s is clip.seen_s
                assert not np.array_equal(other.heard_s, clip.heard_s)


def test_the_sound_of_eight_other_clips_is_tried_and_never_ones_own() -> None:
    group = all_floors(CLIPS, seed=0)["sound of other clips"]
    assert all(len({float(other.heard_s[0]) for other in wrong}) == 8 for wrong in group)


def test_rolled_and_random_sound_has_as_many_onsets_within_the_clip() -> None:
    floors = all_floors(CLIPS, seed=0)
    for name in ("rolled by half", "random onsets"):
        for (wrong,) in floors[name]:
            assert len(wrong.heard_s) == 2 and (np.diff(wrong.heard_s) >= 0).all() and (wrong.heard_s < 2).all()
    assert np.allclose(floors["rolled by half"][0][0].heard_s, [0.2, 1.5])


def test_a_single_clip_has_no_others() -> None:
    assert "sound of other clips" not in all_floors(CLIPS[:1], seed=0)
