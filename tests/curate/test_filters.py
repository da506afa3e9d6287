"""Scores measure what they say, and thresholds drop what they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avctl.curate.filters import Scores, judge, score
from avctl.curate.shots import watch
from avctl.media.decode import Media
from avctl.media.mux import write_mp4
from avctl.schema import Filters, Shots

GOOD = Scores(720.0, 24.0, 100.0, 0.1, 20.0, 0.1, 0.0, -20.0)
RATE = 16_000


def scores_of(tmp_path: Path, frames: np.ndarray, audio: np.ndarray, fps: int = 20) -> Scores:
    path = tmp_path / "a.mp4"
    write_mp4(path, frames, audio.astype(np.float32), fps, RATE)
    with Media(path) as media:
        pictures = watch(media.scan(), Shots())
        return score(media, pictures, media.sound(0.0, 2.0), 0.0, 2.0)


def grey(frames: int = 40) -> np.ndarray:
    return np.full((frames, 64, 96, 3), 128, np.uint8)


def noise(level: float, samples: int = 2 * RATE) -> np.ndarray:
    return np.random.default_rng(0).normal(0, level, (samples, 1))


def test_the_source_is_measured(tmp_path: Path) -> None:
    found = scores_of(tmp_path, grey(), noise(0.1))
    assert (found.height, found.fps) == (64, 20)
    assert found.sharpness < 1
    assert found.cuts_per_s == 0
    assert found.loudness_db == pytest.approx(-20, abs=1)


def test_half_silence_is_half(tmp_path: Path) -> None:
    audio = noise(0.1)
    audio[RATE:] = 0
    assert scores_of(tmp_path, grey(), audio).silence == pytest.approx(0.5, abs=0.05)


def test_snr_is_loud_over_quiet(tmp_path: Path) -> None:
    audio = noise(0.1)
    audio[RATE:] *= 0.1
    assert scores_of(tmp_path, grey(), audio).snr_db == pytest.approx(20, abs=3)
    assert (scores_of(tmp_path, grey(), noise(0.1)).snr_db or 99) < 3


def test_clipping_is_the_share_at_full_scale(tmp_path: Path) -> None:
    assert (scores_of(tmp_path, grey(), np.clip(noise(3.0), -1, 1)).clipping or 0) > 0.1
    assert scores_of(tmp_path, grey(), noise(0.1)).clipping == 0


def test_rapid_cuts_are_counted(tmp_path: Path) -> None:
    frames = grey(80)
    for first in range(0, 80, 8):
        frames[first : first + 8] = np.random.default_rng(first).integers(0, 256, 3)
    found = scores_of(tmp_path, frames, noise(0.1, 4 * RATE))
    assert found.cuts_per_s and found.cuts_per_s > 1


@pytest.mark.parametrize(
    ("filters", "bad", "reason"),
    [
        (Filters(min_height=480), {"height": 479.0}, "height"),
        (Filters(min_fps=24), {"fps": 23.9}, "fps"),
        (Filters(min_sharpness=50), {"sharpness": 49.0}, "blur"),
        (Filters(max_cuts_per_s=0.5), {"cuts_per_s": 0.6}, "cuts"),
        (Filters(min_snr_db=10), {"snr_db": 9.0}, "snr"),
        (Filters(max_silence=0.5), {"silence": 0.51}, "silence"),
        (Filters(max_clipping=0.01), {"clipping": 0.02}, "clipping"),
    ],
)
def test_each_threshold_drops_its_own(filters: Filters, bad: dict[str, float], reason: str) -> None:
    assert judge(GOOD, filters) is None
    assert judge(replace(GOOD, **bad), filters) == reason
    off = Filters(max_silence=None, max_clipping=None)
    assert judge(replace(GOOD, **bad), off) is None


def test_a_frame_rate_that_rounds_to_the_threshold_passes() -> None:
    assert judge(replace(GOOD, fps=23.9995), Filters(min_fps=24)) is None
