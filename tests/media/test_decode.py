"""A file is decoded once when it is small, and read by time whatever its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avctl.media.decode import Media
from avctl.media.probe import MediaError

Make = Callable[..., Path]


def scanned(path: Path) -> Media:
    media = Media(path)
    for _ in media.scan():
        pass
    return media


def test_a_scan_measures_rates_and_ends(footage: Make) -> None:
    with scanned(footage(video_start_s=0.08)) as media:
        scan = media.scanned
        assert len(scan.times) == 50
        assert scan.fps == pytest.approx(25)
        assert scan.video_start_s == pytest.approx(0.08)
        assert scan.video_end_s == pytest.approx(2.08)
        assert not scan.is_variable
        assert scan.damaged == 0
        assert 0.5 < scan.peak < 1


def test_a_variable_rate_is_noticed_and_a_rounded_one_is_not(footage: Make) -> None:
    with scanned(footage(name="a.mkv", fps=30)) as media:
        assert not media.scanned.is_variable
    with scanned(footage(name="b.mkv", times=(0.0, 0.04, 0.08, 0.16, 0.2))) as media:
        assert media.scanned.is_variable


def test_the_nearest_frame_is_read_and_the_earlier_of_two(footage: Make) -> None:
    with scanned(footage()) as media:
        shown = media.read(np.array([0.0, 0.019, 0.0205, 0.06, 1.0, 1.95]), (16, 16))[1]
    assert shown == pytest.approx([0.0, 0.0, 0.04, 0.04, 1.0, 1.96])


def test_a_time_behind_the_last_frame_shows_the_last_frame(footage: Make) -> None:
    with scanned(footage()) as media:
        assert media.read(np.array([1.99]), (16, 16))[1] == pytest.approx([1.96])


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_seeking_reads_the_same_frames_as_holding(footage: Make, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"preset": "veryfast", "crf": "12", "g": "10", "bf": "0" if name == "a.avi" else "2"}
    path = footage(name=name, seconds=4.0, event_s=2.0, video_options=options)
    with scanned(path) as media:
        times = media.scanned.video_start_s + np.arange(20, 80, 3) / 25
        held = media.read(times, (48, 64))
    monkeypatch.setattr("avctl.media.decode.HOLD_BYTES", 10_000)
    with scanned(path) as media:
        assert not media._is_held
        sought = media.read(times, (48, 64))
        again = media.read(times[:5], (48, 64))  # backwards
    assert np.array_equal(held[1], sought[1])
    assert np.array_equal(held[0], sought[0])
    assert np.array_equal(held[0][:5], again[0])


def test_no_sound_at_a_time_is_said(footage: Make) -> None:
    with scanned(footage()) as media, pytest.raises(MediaError, match="no_sound_here"):
        media.sound(10.0, 11.0)
