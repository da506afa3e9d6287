"""Reconstruction metrics against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from avctl.media.synthetic import Scene, render
from avctl.metrics.reconstruction import mel_distance_db, psnr, si_sdr_db, ssim
from avctl.schema import Synthetic

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return render(3, Synthetic(count=1))


def noisy(frames: np.ndarray, level: float) -> np.ndarray:
    return (frames + level * RNG.normal(size=frames.shape)).round().clip(0, 255).astype(np.uint8)


def test_psnr_is_ten_log_of_peak_over_error() -> None:
    frames = np.full((2, 8, 8, 3), 100, np.uint8)
    assert psnr(frames + np.uint8(5), frames) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(frames, frames) == 100


def test_ssim_is_one_for_equals_and_falls_with_noise(scene: Scene) -> None:
    values = [ssim(noisy(scene.frames, level), scene.frames) for level in (0, 5, 20, 80)]
    assert values[0] == pytest.approx(1, abs=1e-6)
    assert values == sorted(values, reverse=True) and values[-1] < 0.4


def test_ssim_forgives_a_shift_in_light_more_than_noise_of_equal_error() -> None:
    # A texture: on a flat ground the constants of SSIM decide, not its terms.
    frames = RNG.integers(60, 180, (2, 32, 32, 1)).repeat(3, 3).astype(np.uint8)
    assert ssim(frames + np.uint8(10), frames) > ssim(noisy(frames, 10), frames)


def test_mel_distance_of_half_the_sound_is_six_decibels() -> None:
    sound = RNG.normal(size=(16_000, 2)) * 0.1
    assert mel_distance_db(0.5 * sound, sound, 16_000) == pytest.approx(
        6.02, abs=0.1
    )  # less at the padded start, near the floor
    assert mel_distance_db(sound, sound, 16_000) == 0


def test_mel_distance_does_not_hear_the_phase() -> None:
    t = np.arange(16_000) / 16_000
    sine, cosine = (0.1 * f(2 * np.pi * 500 * t)[:, None] for f in (np.sin, np.cos))
    assert mel_distance_db(cosine, sine, 16_000) < 1
    assert si_sdr_db(cosine, sine) < 0


def test_si_sdr_is_the_ratio_of_sound_to_noise_whatever_the_scale() -> None:
    sound = RNG.normal(size=(48_000, 1))
    noise = RNG.normal(size=sound.shape)
    noise -= (noise * sound).sum() / (sound**2).sum() * sound  # orthogonal
    noise *= 0.1 * np.linalg.norm(sound) / np.linalg.norm(noise)
    assert si_sdr_db(3 * (sound + noise), sound) == pytest.approx(20, abs=1e-6)
    assert np.isnan(si_sdr_db(sound, 0 * sound))
