"""Clips begin on sharp frames, lie inside shots and do not overlap."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from avctl.curate.shots import Pictures, laplacian_variance, spread, starts, watch
from avctl.media.decode import Media
from avctl.media.mux import write_mp4
from avctl.schema import Shots

FPS = 10


def pictures(frames: int, cuts: tuple[int, ...] = (), sharp: tuple[int, ...] = ()) -> Pictures:
    """Ten frames a second, all alike but for the sharp ones."""
    sharpness = np.full(frames, 10.0)
    sharpness[list(sharp)] = 50.0
    return Pictures(np.arange(frames) / FPS, sharpness, np.array(cuts, int))


def starts_of(seen: Pictures, seconds: float = 2.0, span: tuple[float, float] | None = None) -> list[float]:
    end_s = len(seen.times) / FPS
    return starts(seen, span or (0.0, end_s), end_s, seconds, Shots(sharpest_within_s=0.5))


def test_a_source_as_long_as_a_clip_gives_one_from_its_first_frame() -> None:
    assert starts_of(pictures(20, sharp=(3,))) == [0.0]


def test_a_clip_moves_to_the_sharpest_frame_as_far_as_the_shot_allows() -> None:
    assert starts_of(pictures(24, sharp=(3, 7))) == pytest.approx([0.3])  # 0.7 would leave 1.7 s
    assert starts_of(pictures(30, sharp=(7,))) == pytest.approx([0.0])  # beyond half a second


def test_a_shot_is_filled_before_its_spare_time_is_spent_again() -> None:
    assert starts_of(pictures(64, sharp=(4, 24, 44))) == pytest.approx([0.4, 2.4, 4.4])


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
    seen = Pictures(np.arange(300) / FPS, generator.random(300), np.array(cuts))
    found = starts_of(seen, 1.5)
    assert all(later - earlier >= 1.5 - 1e-6 for earlier, later in pairwise(found))
    for start in found:
        assert not any(start + 1e-6 < cut / FPS < start + 1.5 - 2e-3 for cut in cuts)
    shots = zip((0, *cuts), (*cuts, 300), strict=True)
    assert len(found) == sum((last - first) // 15 for first, last in shots)  # no clip that fits is lost


def test_at_most_so_many_clips_are_taken_evenly() -> None:
    assert spread([float(i) for i in range(9)], 3) == [0.0, 4.0, 8.0]
    assert spread([1.0, 2.0], 3) == [1.0, 2.0]


def test_blur_lowers_sharpness() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    assert laplacian_variance(cv2.GaussianBlur(image, (5, 5), 2)) < 0.05 * laplacian_variance(image)
    assert laplacian_variance(image) == pytest.approx(float(cv2.Laplacian(image, cv2.CV_64F).var()))


def test_cuts_of_a_real_file_are_found_where_they_are(tmp_path: Path) -> None:
    colours = np.repeat(np.array([(200, 30, 30), (10, 60, 10), (230, 230, 250)], np.uint8), [12, 20, 8], axis=0)
    frames = np.broadcast_to(colours[:, None, None], (40, 64, 96, 3))
    write_mp4(tmp_path / "a.mp4", np.ascontiguousarray(frames), np.full((32_000, 1), 0.1, np.float32), 20, 16_000)
    with Media(tmp_path / "a.mp4") as media:
        assert watch(media.scan(), Shots()).cuts.tolist() == [12, 32]
