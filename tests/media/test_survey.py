"""A survey knows of a file what a scan knows, from its packets and keyframes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avctl.media.decode import Media
from avctl.media.survey import Unsurveyable, survey

Make = Callable[..., Path]
B_FRAMES = {"preset": "veryfast", "crf": "12", "g": "10", "bf": "2"}


def surveyed(path: Path) -> Media:
    media = Media(path)
    list(survey(media))
    return media


def scanned(path: Path) -> Media:
    media = Media(path)
    list(media.scan())
    return media


@pytest.mark.parametrize(
    "kind",
    [
        {"name": "a.mp4", "video_start_s": 0.08},
        {"name": "a.mp4", "audio_start_s": 0.05},
        {"name": "a.mkv", "fps": 30},
        {"name": "a.mkv", "times": (0.0, 0.04, 0.08, 0.16, 0.2)},
        {"name": "a.ts"},
        {"name": "a.webm", "video_codec": "libvpx-vp9", "audio_codec": "libopus", "video_options": {"cpu-used": "8"}},
        {"name": "a.mov", "video_codec": "mjpeg", "pixel_format": "yuvj420p", "video_options": {}},
    ],
    ids=str,
)
def test_times_and_sound_are_those_of_a_scan(footage: Make, kind: dict) -> None:
    path = footage(**{"video_options": B_FRAMES, **kind})
    with surveyed(path) as quick, scanned(path) as slow:
        assert quick.scanned == slow.scanned


def test_only_keyframes_are_decoded(footage: Make) -> None:
    path = footage(seconds=4.0, video_options=B_FRAMES | {"sc_threshold": "0"})
    with Media(path) as media:
        keyframes = list(survey(media))
    assert [frame.time for frame in keyframes] == pytest.approx(np.arange(10) * 0.4)
    assert all(frame.key_frame for frame in keyframes)


def test_a_keyframe_looks_like_the_frame_that_it_stands_for(footage: Make) -> None:
    path = footage(video_options=B_FRAMES, is_corner_marked=True)
    with Media(path) as media:
        keyframe = next(iter(survey(media))).to_ndarray(format="rgb24").astype(int)
        whole = next(iter(media.scan())).to_ndarray(format="rgb24").astype(int)
    assert np.abs(keyframe - whole).mean() < 4


def test_a_file_whose_packets_tell_no_times_says_so(footage: Make) -> None:
    for kind in ({"name": "a.avi"}, {"name": "a.mkv", "video_codec": "mpeg4"}):
        with Media(footage(video_options={}, **kind)) as media, pytest.raises(Unsurveyable):
            list(survey(media))


def test_damaged_sound_and_keyframes_are_counted(footage: Make) -> None:
    path = footage(name="a.mkv", seconds=4.0, video_options=B_FRAMES)
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    for place in range(len(data) // 3, len(data) - 500, 4_000):
        data[place : place + 400] = noise
    path.write_bytes(bytes(data))
    with surveyed(path) as media:
        assert media.scanned.damaged > 0
