"""Interlaced pictures lose their combs, and no frame is lost."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from avctl.media.decode import Media
from avctl.media.load import load_frames
from avctl.schema import Clip


def test_interlaced_pictures_lose_their_combs(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_interlaced(path)
    with av.open(str(path)) as file:
        woven = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with Media(path) as media:
        assert len(list(media.scan())) == len(woven) == 26
        assert media.scanned.interlaced
        frames = media.read(np.array(media.scanned.times), (32, 32))[0]
    assert combs(woven[12]) > 10
    assert combs(frames[12]) < 3
    assert np.abs(frames[12].mean() - woven[12].mean()) < 4


def test_a_file_that_is_given_to_a_task_loses_its_combs_too(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_interlaced(path)
    with Media(path) as media:
        list(media.scan())
        expected = media.read(np.array(media.scanned.times), (32, 32))[0]
    assert np.array_equal(load_frames(path, Clip(seconds=1.0, size=(32, 32), fps=25), 26), expected)


def combs(frame: np.ndarray) -> float:
    """How much neighbouring lines differ from the line between them."""
    green = frame.astype(int)[..., 1]
    return float(np.abs(2 * green[1:-1] - green[:-2] - green[2:]).mean())


def write_interlaced(path: Path) -> None:
    """A bar that moves between the two fields of each frame, at the size of the clip."""
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=25, options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
        video.height, video.width, video.pix_fmt = 32, 32, "yuv420p"
        audio = file.add_stream("aac", rate=16_000)
        for index in range(26):
            pixels = np.full((32, 32, 3), 16, np.uint8)
            for line in range(32):
                left = (2 * index + line % 2) * 3 % 24
                pixels[line, left : left + 8] = 235
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index
            file.mux(video.encode(frame))
        noise = np.random.default_rng(0).normal(0, 0.1, (1, 16_640)).astype(np.float32)
        sound = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        sound.sample_rate = 16_000
        audio.codec_context.layout = "mono"
        file.mux(audio.encode(sound))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))
