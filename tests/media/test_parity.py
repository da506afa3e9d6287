"""A comparison of engines that finds what is wrong: another frame, another time, a shifted sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avctl.media.audio import Sound
from avctl.media.decode import Media
from avctl.media.engines.pyav import PyAV
from avctl.media.parity import FRAMES, Parity, compare, engines, psnr_db
from avctl.media.probe import MediaError

Make = Callable[..., Path]


class Late(PyAV):
    """Shows every frame one too late."""

    def read(self, media: Media, times_s: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        return media.read(times_s + media.scanned.interval_s, size)[0], media.read(times_s, size)[1]


class OffBeat(PyAV):
    """Its clock is 5 ms late, and a frame is lost; its sound comes 20 samples late."""

    def count(self, media: Media) -> int:
        return len(media.scanned.times) - 1

    def read(self, media: Media, times_s: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        frames, shown = media.read(times_s, size)
        return frames, shown + 0.005

    def sound(self, media: Media, start_s: float, end_s: float) -> Sound:
        sound = media.sound(start_s, end_s)
        return Sound(np.roll(sound.samples, 20, axis=0), sound.rate, sound.start_s, sound.layout)


class Muffled(PyAV):
    """Its sound is too low."""

    def sound(self, media: Media, start_s: float, end_s: float) -> Sound:
        sound = media.sound(start_s, end_s)
        return replace(sound, samples=sound.samples / 2)


class Slow(PyAV):
    """Its sound has another rate."""

    def sound(self, media: Media, start_s: float, end_s: float) -> Sound:
        return replace(media.sound(start_s, end_s), rate=44_100)


class Flat(PyAV):
    """Its colours are off by five levels."""

    def read(self, media: Media, times_s: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        frames, shown = media.read(times_s, size)
        return np.clip(frames.astype(int) + 5, 0, 255).astype(np.uint8), shown


def against(engine: PyAV, path: Path) -> Parity:
    return compare(path, [engine])[1]


def test_equal_pictures_are_beyond_measure_and_others_are_measured() -> None:
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)
    assert psnr_db(black, black) == 99
    assert psnr_db(black, grey) == psnr_db(grey, black) == pytest.approx(20 * np.log10(5))


def test_the_same_engine_agrees_with_itself(footage: Make) -> None:
    own, row = compare(footage(is_moving=True), [PyAV()])
    assert (own.engine, own.frames) == ("pyav", 50) and own.fps and own.fps > 1
    assert (row.frames, row.missing, row.time_s, row.same) == (50, 0, 0, FRAMES)
    assert (row.min_psnr_db, row.sound, row.sound_offset) == (99, 0, 0)
    assert not row.is_below(98.9)


@pytest.mark.ffmpeg
def test_engines_of_this_machine_agree_on_times_frames_and_sound(footage: Make) -> None:
    found, lacking = engines()
    assert not lacking
    path = footage(is_moving=True, video_codec="libvpx-vp9", video_options={"crf": "12", "b": "0", "cpu-used": "8"})
    for row in compare(path, found):
        assert not row.refused and not row.is_below(30)


def test_another_frame_is_found(footage: Make) -> None:
    row = against(Late(), footage(is_moving=True))
    assert row.same is not None and row.same <= 1  # behind the last frame there is none
    assert row.is_below(1)


def test_another_clock_a_lost_frame_and_late_sound_are_found(footage: Make) -> None:
    row = against(OffBeat(), footage(is_moving=True))
    assert (row.missing, row.time_s, row.sound_offset) == (1, 0.005, 20)
    assert row.sound is not None and row.sound < 1e-6 and row.is_below(1)


@pytest.mark.parametrize("engine", [Muffled(), Slow()])
def test_other_samples_are_found(footage: Make, engine: PyAV) -> None:
    row = against(engine, footage(is_moving=True))
    assert (row.missing, row.time_s, row.same, row.min_psnr_db) == (0, 0, FRAMES, 99)
    assert row.is_below(1)


def test_pixels_are_judged_by_the_threshold(footage: Make) -> None:
    row = against(Flat(), footage(is_moving=True))
    assert row.min_psnr_db == pytest.approx(34.2, abs=0.1)
    assert not row.is_below(34) and row.is_below(35)


def test_a_file_that_an_engine_refuses_is_told_and_not_wrong(footage: Make) -> None:
    path = footage(video_options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    for row in compare(path, engines()[0])[1:]:
        assert str(row.refused).startswith("interlaced") and not row.is_below(99)


def test_a_file_that_nobody_decodes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises(MediaError, match="not_media"):
        compare(tmp_path / "a.mp4", [])
