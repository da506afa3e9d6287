"""An excerpt decodes to the frames that it was made for, at the places that it says, and holds little else."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from avctl.media.excerpt import excerpts, is_droppable

Make = Callable[..., Path]
X264 = {"preset": "veryfast", "threads": "1"}
FILES: dict[str, dict[str, Any]] = {
    "h264": {"video_options": X264 | {"bf": "3", "g": "24"}},
    "h264 with open groups": {"video_options": X264 | {"bf": "3", "g": "12", "x264-params": "open-gop=1"}},
    "h264 with start codes": {"name": "a.ts", "video_options": X264 | {"bf": "3", "g": "12"}},
    "h264 in matroska": {"name": "a.mkv", "video_options": X264 | {"bf": "3", "g": "12"}},
    "hevc": {
        "video_codec": "libx265",
        "video_options": {"preset": "veryfast", "x265-params": "log-level=none:keyint=12"},
    },
    "vp9": {"video_codec": "libvpx-vp9", "video_options": {"cpu-used": "8", "g": "12"}},
    "vp8": {"name": "a.mkv", "video_codec": "libvpx", "video_options": {"cpu-used": "8", "g": "12"}},
    "mpeg4": {"video_codec": "mpeg4", "video_options": {"bf": "2", "g": "12"}},
    "variable rate": {"times": (0.0, 0.04, 0.08, 0.3, 0.34, 0.5, 0.9, 0.94), "video_options": X264},
}


def decoded(source: str | io.BytesIO) -> tuple[list[float], list[np.ndarray]]:
    with av.open(source, "r") as file:
        frames = list(file.decode(video=0))
    return [frame.time or 0.0 for frame in frames], [np.asarray(frame.to_ndarray()) for frame in frames]


@pytest.mark.parametrize("choice", [[7], [1, 2, 5], [0, 3, 4, 7], [2, 6]])
@pytest.mark.parametrize("kind", FILES)
def test_the_frames_are_where_it_says(footage: Make, kind: str, choice: list[int]) -> None:
    path = footage(is_moving=True, **FILES[kind])
    times, frames = decoded(str(path))
    wanted = [index * (len(times) // 8) for index in choice]
    found = []
    for part in excerpts(path, [times[index] for index in wanted]):
        assert part.indices.dtype == np.int32
        inside = decoded(io.BytesIO(part.data.tobytes()))[1]
        found += [inside[place] for place in part.indices]
    assert len(found) == len(wanted)
    assert all(np.array_equal(frame, frames[index]) for frame, index in zip(found, wanted, strict=True))


def test_frames_that_an_edit_list_cuts_off_are_counted_in_it(
    footage: Make, cut_by_edit_list: Callable[[Path, Path, float], None], tmp_path: Path
) -> None:
    cut_by_edit_list(footage(is_moving=True, video_options=X264 | {"bf": "3", "g": "50"}), tmp_path / "b.mp4", 0.4)
    times, frames = decoded(str(tmp_path / "b.mp4"))
    (part,) = excerpts(tmp_path / "b.mp4", times[3:20:8])
    inside = decoded(io.BytesIO(part.data.tobytes()))[1]
    for place, index in zip(part.indices, range(3, 20, 8), strict=True):
        assert np.array_equal(inside[place], frames[index])


def test_only_the_groups_that_are_needed_are_in_it(footage: Make) -> None:
    path = footage(is_moving=True, video_options=X264 | {"bf": "0", "g": "10", "sc_threshold": "0"})
    first, last = excerpts(path, [0.04, 1.28])
    assert len(decoded(io.BytesIO(first.data.tobytes()))[1]) == 2
    assert len(decoded(io.BytesIO(last.data.tobytes()))[1]) == 3
    assert (first.indices.tolist(), last.indices.tolist()) == ([1], [2])
    assert len(last.data) < path.stat().st_size / 5


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_pictures_that_nobody_needs_are_left_out(footage: Make, name: str) -> None:
    path = footage(name=name, is_moving=True, video_options=X264 | {"bf": "3", "b_strategy": "0", "g": "50"})
    times, _ = decoded(str(path))
    (part,) = excerpts(path, [times[0], times[-1]])
    assert len(decoded(io.BytesIO(part.data.tobytes()))[1]) < 30
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        packets = [packet for packet in file.demux(stream) if packet.size]
        num_droppable = sum(is_droppable(packet, stream) for packet in packets)
    assert 20 < num_droppable < 30 and len(packets) == 50


def test_a_time_at_which_no_packet_is_shown_is_refused(footage: Make) -> None:
    with pytest.raises(ValueError, match="when they are shown"):
        excerpts(footage(is_moving=True), [0.48, 0.5])


def test_the_matrix_of_the_colours_is_told(footage: Make) -> None:
    assert excerpts(footage(), [0.0])[0].matrix == 2
    options = X264 | {"x264-params": "colormatrix=bt709"}
    assert excerpts(footage(name="b.mp4", video_options=options), [0.0])[0].matrix == 1
