"""Frames decoded alone are those of a whole decode, bit for bit, whatever refers to what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from avctl.media.sparse import frames_at, needed, stamps

X264 = {"preset": "veryfast", "crf": "24", "threads": "1"}
CODECS = {
    "b-frames that others refer to": ("a.mp4", "libx264", X264 | {"g": "24", "bf": "5"}),
    "open groups": ("a.mp4", "libx264", X264 | {"g": "12", "bf": "3", "x264-params": "open-gop=1"}),
    "open groups in a transport stream": (
        "a.ts",
        "libx264",
        X264 | {"g": "12", "bf": "3", "x264-params": "open-gop=1"},
    ),
    "no keyframes but the first": ("a.ts", "libx264", X264 | {"g": "24", "x264-params": "intra-refresh=1"}),
    "avi, which has no presentation stamps": ("a.avi", "libx264", X264 | {"g": "24", "bf": "2"}),
    "hevc": ("a.mp4", "libx265", {"preset": "veryfast", "x265-params": "log-level=none:keyint=12:pools=none"}),
    "mpeg-2": ("a.ts", "mpeg2video", {"g": "12", "bf": "2"}),
    "mpeg-4": ("a.avi", "mpeg4", {"g": "12", "bf": "2"}),
    "vp9 with frames that are never shown": ("a.webm", "libvpx-vp9", {"cpu-used": "8", "g": "24", "crf": "30"}),
    "vp8": ("a.webm", "libvpx", {"cpu-used": "8", "g": "24", "crf": "20"}),
    "mjpeg": ("a.mov", "mjpeg", {}),
}
CHOICES = ([0], [59], [1, 2, 3], [7, 31, 32, 58], list(range(0, 60, 4)), list(range(20, 50)), list(range(60)))


NEED_MORE = ("no keyframes but the first", "avi, which has no presentation stamps")  # than one pass from a keyframe on


@pytest.mark.parametrize("kind", CODECS)
def test_frames_are_those_of_a_whole_decode(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, codec, options = CODECS[kind]
    if kind not in NEED_MORE:
        monkeypatch.delattr("avctl.media.sparse._from_the_start")
    write(tmp_path / name, codec, options)
    whole = decode(tmp_path / name)
    with av.open(str(tmp_path / name)) as file:
        stream = file.streams.video[0]
        if not name.endswith("avi"):
            assert stamps(file, stream) == sorted(whole)
        for choice in CHOICES:
            wanted = [sorted(whole)[i] for i in choice]
            frames = arrays(frames_at(file, stream, wanted))
            assert sorted(frames) == wanted
            assert all(np.array_equal(frames[stamp], whole[stamp]) for stamp in wanted)


def test_frames_that_an_edit_list_cuts_off_are_decoded_and_not_told(
    tmp_path: Path, cut_by_edit_list: Callable[[Path, Path, float], None]
) -> None:
    write(tmp_path / "a.mp4", "libx264", X264 | {"g": "60", "bf": "2"})
    cut_by_edit_list(tmp_path / "a.mp4", tmp_path / "b.mp4", 20 / 25)
    all_frames, whole = decode(tmp_path / "a.mp4"), decode(tmp_path / "b.mp4")
    assert len(whole) == 40
    with av.open(str(tmp_path / "b.mp4")) as file:
        stream = file.streams.video[0]
        assert stamps(file, stream) == sorted(whole)
        wanted = sorted(whole)[:39:5]
        frames = arrays(frames_at(file, stream, wanted))
    assert sorted(frames) == wanted
    assert np.array_equal(frames[wanted[0]], all_frames[sorted(all_frames)[20]])


def test_only_packets_that_are_needed_are_decoded(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", "libx264", X264 | {"g": "10", "bf": "0", "sc_threshold": "0"})
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        all_stamps = stamps(file, stream)
        runs = list(needed(file, stream, [all_stamps[i] for i in (3, 15, 17, 48)]))
    read = [all_stamps.index(packet.pts or 0) for run in runs for packet in run.packets]
    assert read == [*range(4), *range(10, 18), *range(40, 49)]
    assert [run.restarts for run in runs] == [True, True, False, True]


def test_long_gaps_are_sought_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avctl.media.sparse.SEEK_S", 0.5)
    write(tmp_path / "a.mp4", "libx264", X264 | {"g": "10", "bf": "2"})
    whole = decode(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as file:
        wanted = [sorted(whole)[i] for i in (1, 20, 25, 57)]
        frames = arrays(frames_at(file, file.streams.video[0], wanted))
    assert sorted(frames) == wanted
    assert all(np.array_equal(frames[stamp], whole[stamp]) for stamp in wanted)


def test_packets_kept_back_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mp4", "libx264", X264 | {"g": "60"})
    with av.open(str(tmp_path / "a.mp4")) as file:
        stream = file.streams.video[0]
        last = stamps(file, stream)[-1]
        monkeypatch.setattr("avctl.media.sparse.HOLD_BYTES", 1_000)
        runs = list(needed(file, stream, [last]))
    assert len(runs) > 3
    assert all(sum(packet.size for packet in run.packets[:-1]) < 1_000 for run in runs)


def write(path: Path, codec: str, options: dict[str, str]) -> None:
    """60 frames of noise that moves over noise, so that no two are alike and motion is found."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 224), np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = 64, 96
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(60):
            picture = np.repeat(noise[16:80, index : index + 96, None] // 2, 3, axis=2)
            picture[20:40, 90 - index : 106 - index] += noise[:20, :16, None][:, : 96 - (90 - index)] // 2
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = index
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def decode(path: Path) -> dict[int, np.ndarray]:
    with av.open(str(path)) as file:
        return arrays(file.decode(video=0))


def arrays(frames: Iterable[av.VideoFrame]) -> dict[int, np.ndarray]:
    """Frames by their presentation stamps."""
    return {frame.pts: np.asarray(frame.to_ndarray()) for frame in frames if frame.pts is not None}
