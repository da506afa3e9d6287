"""AV-Align lies between nothing and everything in common, and knows what chance is."""

from __future__ import annotations

import numpy as np

from avctl.media.synthetic import render
from avctl.metrics.av_align import av_align, excess, motion_peaks
from avctl.schema import Synthetic

FPS = 16


def test_equal_times_score_one_and_strangers_zero() -> None:
    times = np.array([0.3, 0.9, 1.5])
    assert av_align(times, times, FPS) == 1
    assert av_align(times, times + 0.2, FPS) == 0
    assert av_align(times, times[:2], FPS) == 2 / 3


def test_one_peak_serves_one_onset_however_many_there_are() -> None:
    assert av_align(np.array([0.50, 0.51, 0.52]), np.array([0.51]), FPS) == 1 / 3


def test_nothing_on_both_sides_is_not_applicable() -> None:
    assert av_align(np.empty(0), np.empty(0), FPS) is None
    assert excess(np.empty(0), np.empty(0), FPS, 2.0) is None
    assert av_align(np.empty(0), np.array([0.5]), FPS) == 0


def test_dense_random_times_score_high_but_not_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.random(12) * 2, rng.random(12) * 2) for _ in range(200)]
    assert np.mean([av_align(*pair, 24) or 0 for pair in pairs]) > 0.2
    assert abs(np.mean([excess(*pair, 24, 2.0) or 0 for pair in pairs])) < 0.02


def test_a_light_and_a_jump_are_peaks_of_motion() -> None:
    frames = np.full((32, 32, 32, 3), 20, np.uint8)
    frames[8:, 4:12, 4:12] = 200  # a light goes on between frames 7 and 8
    frames[20:, 20:28, 20:28] = 200
    assert np.allclose(motion_peaks(frames, FPS), [7.5 / FPS, 19.5 / FPS])


def test_a_sudden_move_is_a_peak_at_any_size_of_the_frames() -> None:
    texture = np.random.default_rng(0).integers(0, 255, (8, 8, 1), np.uint8).repeat(3, axis=2)
    places = [8] * 12 + list(range(8, 14, 2)) + [14] * 15  # a leap of 2 pixels, twice more, and rest
    small = np.full((len(places), 32, 32, 3), 90, np.uint8)
    for frame, left in zip(small, places, strict=True):
        frame[12:20, left : left + 8] = texture
    large = small.repeat(8, axis=1).repeat(8, axis=2)
    for frames in (small, large):
        assert len(motion_peaks(frames, FPS)) == 1
        assert 11.5 / FPS < motion_peaks(frames, FPS)[0] < 15 / FPS


def test_the_noise_of_a_still_camera_is_no_motion() -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 255, (64, 64, 3)).astype(float)
    noisy = (scene + rng.normal(0, 1, (32, 64, 64, 3))).clip(0, 255).astype(np.uint8)
    assert not len(motion_peaks(noisy, FPS))


def test_stills_and_single_frames_have_no_peaks() -> None:
    still = np.full((32, 16, 16, 3), 90, np.uint8)
    assert not len(motion_peaks(still, FPS)) and not len(motion_peaks(still[:1], FPS))


def test_true_clips_align_beyond_chance() -> None:
    spec = Synthetic(count=24, size=(32, 32))
    scenes = [render(index, spec) for index in range(24)]
    values = [excess(np.array(s.truth["events_s"]), motion_peaks(s.frames, FPS), FPS, 2.0) for s in scenes]
    assert np.mean([value or 0 for value in values]) > 0.25
