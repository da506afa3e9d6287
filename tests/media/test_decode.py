"""A file is decoded once when it is small, and read by time whatever its size."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from avctl.media.decode import Media
from avctl.media.probe import MediaError
from avctl.media.survey import survey

Make = Callable[..., Path]


def scanned(path: Path) -> Media:
    media = Media(path)
    for _ in media.scan():
        pass
    return media


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
        assert not media._pictures.is_whole
        sought = media.read(times, (48, 64))
        again = media.read(times[:5], (48, 64))  # backwards
    assert np.array_equal(held[1], sought[1])
    assert np.array_equal(held[0], sought[0])
    assert np.array_equal(held[0][:5], again[0])


def test_no_sound_at_a_time_is_said(footage: Make) -> None:
    with scanned(footage()) as media, pytest.raises(MediaError, match="no_sound_here"):
        media.sound(10.0, 11.0)


def test_a_span_is_the_frames_of_a_scan_between_two_times(footage: Make) -> None:
    path = footage(seconds=4.0, event_s=2.0, video_options={"preset": "veryfast", "g": "10", "bf": "2"})
    with Media(path) as media:
        whole = [frame.to_ndarray() for frame in media.scan() if 1.3 <= frame.time < 2.5]
        part = list(media.span(1.3, 2.5))
    assert [frame.time for frame in part] == pytest.approx(np.arange(33, 63) / 25)
    assert all(np.array_equal(one, other.to_ndarray()) for one, other in zip(whole, part, strict=True))


@pytest.mark.parametrize("last_s", [1.9, 2.47])  # the second reaches behind the span: its last frame may be another
def test_what_a_span_holds_is_read_as_if_it_were_sought(footage: Make, last_s: float) -> None:
    path = footage(seconds=4.0, event_s=2.0, video_options={"preset": "veryfast", "g": "10", "bf": "2"})
    times = np.linspace(1.4, last_s, 9)
    with scanned(path) as media:
        expected = media.read(times, (48, 64))
        list(media.span(1.3, 2.5))
        found = media.read(times, (48, 64))
    assert np.array_equal(expected[0], found[0]) and np.array_equal(expected[1], found[1])


def test_frames_outside_of_a_span_are_sought(footage: Make) -> None:
    with scanned(footage(seconds=4.0)) as media:
        list(media.span(1.0, 2.0))
        assert media.read(np.array([0.2, 3.0]), (16, 16))[1] == pytest.approx([0.2, 3.0])


INTERLACED = {"preset": "veryfast", "g": "25", "flags": "+ildct+ilme", "x264-params": "tff=1:scenecut=0"}


def test_damage_in_an_interlaced_file_is_counted_where_it_is_read(footage: Make) -> None:
    with Media(interlaced_and_damaged(footage)) as media:
        list(survey(media))
        assert media.scanned.interlaced
        media.read(np.array([1.4]), (16, 16))
        assert media.scanned.damaged == 0
        media.read(np.array([2.8]), (16, 16))
        assert media.scanned.damaged == 1


def test_damage_that_a_scan_has_counted_is_not_counted_again(footage: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avctl.media.decode.HOLD_BYTES", 10_000)
    with scanned(interlaced_and_damaged(footage)) as media:
        media.read(np.array([2.8]), (16, 16))
        assert media.scanned.damaged == 1


def test_pictures_between_keyframes_that_are_not_interlaced_are_deinterlaced(footage: Make) -> None:
    path = footage(name="a.mkv", is_moving=True, video_options=INTERLACED)
    with av.open(str(path)) as file:
        keyframes = [bytes(packet) for packet in file.demux(video=0) if packet.size and packet.is_keyframe]
    data = path.read_bytes()
    for packet in keyframes:  # the picture timing of H.264, D.1.3: from two fields to one frame
        data = data.replace(packet, re.sub(rb"\x06\x01\x01[\x32\x42]\x80", b"\x06\x01\x01\x04\x80", packet))
    path.write_bytes(data)
    with scanned(path) as media:
        times = np.array(media.scanned.times)
        expected = media.read(times, (48, 64))[0]
    with Media(path) as media:
        list(survey(media))
        assert not media.scanned.interlaced
        found = media.read(times, (48, 64))[0]
        assert media.scanned.interlaced
    assert np.array_equal(expected, found)


def interlaced_and_damaged(footage: Make) -> Path:
    """Every second begins with a keyframe, and a packet after that of the third is empty."""
    path = footage(name="a.mkv", seconds=4.0, is_moving=True, video_options=INTERLACED)
    with av.open(str(path)) as file:
        data = next(bytes(packet) for packet in file.demux(video=0) if packet.pts and packet.pts > 2_000)
    path.write_bytes(path.read_bytes().replace(data[8:], bytes(len(data) - 8)))
    return path
