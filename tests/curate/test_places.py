"""Clips begin on sharp frames, lie inside shots and do not overlap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from avctl.curate.places import Place, spread, starts
from avctl.curate.shots import Pictures, between
from avctl.schema import Shots

FPS = 10


def pictures(frames: int, cuts: tuple[int, ...] = (), sharp: tuple[int, ...] = ()) -> Pictures:
    """Ten frames a second, all alike but for the sharp ones."""
    sharpness = np.full(frames, 10.0)
    sharpness[list(sharp)] = 50.0
    return Pictures(np.arange(frames) / FPS, sharpness, between(np.repeat(np.array(cuts, int), 2), frames), None)


def places_of(seen: Pictures, lengths_s: tuple[float, ...], span: tuple[float, float] | None = None) -> list[Place]:
    end_s = len(seen.times) / FPS
    return starts(seen, span or (0.0, end_s), end_s, lengths_s, Shots(sharpest_within_s=0.5))


def starts_of(seen: Pictures, seconds: float = 2.0, span: tuple[float, float] | None = None) -> list[float]:
    return [place.start_s for place in places_of(seen, (seconds,), span)]


def test_a_source_as_long_as_a_clip_gives_one_from_its_first_frame() -> None:
    assert starts_of(pictures(20, sharp=(3,))) == [0.0]


def test_a_clip_moves_to_the_sharpest_frame_as_far_as_the_shot_allows() -> None:
    assert starts_of(pictures(24, sharp=(3, 7))) == pytest.approx([0.3])  # 0.7 would leave 1.7 s
    assert starts_of(pictures(30, sharp=(7,))) == pytest.approx([0.0])  # beyond half a second


def test_a_shot_is_filled_before_its_spare_time_is_spent_again() -> None:
    assert starts_of(pictures(64, sharp=(4, 24, 44))) == pytest.approx([0.4, 2.4, 4.4])


@pytest.mark.parametrize("within_s", [0.0, 0.5])
@pytest.mark.parametrize("fps", [24_000 / 1_001, 30_000 / 1_001, 60_000 / 1_001])
def test_clips_begin_on_frames_where_no_frame_begins_when_a_clip_ends(fps: float, within_s: float) -> None:
    times = np.arange(round(60 * fps)) / fps
    seen = Pictures(times, np.ones(len(times)), np.array([[0, len(times)]]), None)
    found = starts(seen, (0.03, 60.0), 60.0, (2.0,), Shots(sharpest_within_s=within_s))
    assert len(found) == 29
    assert {place.start_s for place in found} <= {*times}
    assert all(b.start_s - a.start_s >= 2 - 1e-6 for a, b in pairwise(found))


def test_no_clip_spans_a_cut() -> None:
    found = starts_of(pictures(80, cuts=(15, 50)))
    assert found == pytest.approx([1.5, 5.0])


def test_two_shots_that_are_too_short_give_nothing() -> None:
    assert starts_of(pictures(30, cuts=(15,))) == []


def test_clips_stay_where_there_is_sound() -> None:
    assert starts_of(pictures(60), span=(0.95, 5.2)) == pytest.approx([1.0, 3.0])


@pytest.mark.parametrize("seed", range(20))
def test_clips_never_overlap_and_never_leave_their_shot(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cuts = tuple(sorted(generator.choice(np.arange(1, 300), 5, replace=False).tolist()))
    seen = Pictures(np.arange(300) / FPS, generator.random(300), between(np.repeat(cuts, 2), 300), None)
    found = starts_of(seen, 1.5)
    assert all(later - earlier >= 1.5 - 1e-6 for earlier, later in pairwise(found))
    for start in found:
        assert not any(start + 1e-6 < cut / FPS < start + 1.5 - 2e-3 for cut in cuts)
    shots = zip((0, *cuts), (*cuts, 300), strict=True)
    assert len(found) == sum((last - first) // 15 for first, last in shots)  # no clip that fits is lost


def test_frames_between_two_shots_are_in_no_clip() -> None:
    seen = Pictures(np.arange(60) / FPS, np.zeros(60), np.array([[3, 25], [33, 60]]), None)
    assert starts_of(seen) == pytest.approx([0.3, 3.3])


def test_a_shot_is_filled_with_the_longest_clips_that_fit() -> None:
    found = places_of(pictures(300, cuts=(35, 50, 190), sharp=(55,)), (10.0, 8.0, 6.0, 4.0, 2.0))
    assert [place.seconds for place in found] == [2.0, 10.0, 4.0, 10.0]
    assert [place.start_s for place in found] == pytest.approx([0.0, 5.0, 15.0, 19.0])


def test_clips_of_several_lengths_move_as_far_as_their_shot_allows() -> None:
    found = places_of(pictures(123, sharp=(2, 4, 105)), (10.0, 8.0, 6.0, 4.0, 2.0))
    assert [(round(place.start_s, 3), place.seconds) for place in found] == [(0.2, 10.0), (10.2, 2.0)]


@pytest.mark.parametrize("seed", range(20))
def test_clips_of_several_lengths_never_overlap_and_never_leave_their_shot(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cuts = np.sort(generator.choice(np.arange(1, 600), 5, replace=False))
    seen = Pictures(np.arange(600) / FPS, generator.random(600), between(np.repeat(cuts, 2), 600), None)
    found = places_of(seen, (10.0, 6.0, 2.0))
    assert all(later.start_s - earlier.start_s >= earlier.seconds - 1e-6 for earlier, later in pairwise(found))
    for place in found:
        assert not any(place.start_s + 1e-6 < cut / FPS < place.start_s + place.seconds - 2e-3 for cut in cuts)
    rooms = np.diff([0, *cuts, 600])
    assert len(found) == sum(room // 100 + room % 100 // 60 + room % 100 % 60 // 20 for room in rooms)


def test_at_most_so_many_clips_are_taken_evenly() -> None:
    places = [Place(float(i), 2.0) for i in range(9)]
    assert spread(places, 3) == [places[0], places[4], places[8]]
    assert spread(places[:2], 3) == places[:2]
