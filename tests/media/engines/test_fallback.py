"""What the engine cannot do for a file, PyAV does, and it is said why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avctl.curate.prepare import Source, prepare
from avctl.media.decode import Media
from avctl.media.engines.fallback import Reader
from avctl.recipe.content import sha256
from avctl.schema import Clip, Decode, Preprocess, Shots

Make = Callable[..., Path]
WANTED = np.arange(0, 1, 0.04)
VP9 = {"video_codec": "libvpx-vp9", "video_options": {"cpu-used": "8", "crf": "12", "b": "0"}}


def reader(path: Path, decode: Decode) -> Reader:
    media = Media(path)
    for _ in media.scan():
        pass
    return Reader(media, decode)


def test_a_file_that_the_engine_can_read_is_read_by_it(footage: Make) -> None:
    reads = reader(footage(is_moving=True, **VP9), Decode(engine="dali"))
    frames, _ = reads.read(WANTED, (48, 64))
    assert reads.fallback is None and reads.used.startswith("dali 2.")
    assert not np.array_equal(frames, reads.media.read(WANTED, (48, 64))[0])  # DALI rounds otherwise


@pytest.mark.ffmpeg
def test_a_file_that_it_cannot_read_is_pyavs(footage: Make) -> None:
    woven = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    reads = reader(footage(video_options=woven), Decode(engine="torchcodec"))
    frames, _ = reads.read(WANTED, (48, 64))
    assert reads.fallback and reads.fallback.reason == "interlaced" and reads.used == "pyav"
    assert np.array_equal(frames, reads.media.read(WANTED, (48, 64))[0])


@pytest.mark.ffmpeg
def test_pixels_too_far_off_are_pyavs(footage: Make) -> None:
    reads = reader(footage(is_moving=True), Decode(engine="torchcodec", min_psnr_db=98.0))
    frames, _ = reads.read(WANTED, (36, 48))
    assert reads.fallback and reads.fallback.reason == "parity" and "dB" in reads.fallback.detail
    assert np.array_equal(frames, reads.media.read(WANTED, (36, 48))[0])


@pytest.mark.ffmpeg
@pytest.mark.parametrize(("min_psnr_db", "engine", "reason"), [(30.0, "torchcodec 0.", None), (98.0, "pyav", "parity")])
def test_a_source_says_which_engine_made_its_clips(
    footage: Make, min_psnr_db: float, engine: str, reason: str | None
) -> None:
    path = footage(seconds=2.2, is_moving=True)
    clip = Clip(seconds=1.0, size=(36, 48), fps=25, sample_rate=16_000)
    decode = Decode(engine="torchcodec", min_psnr_db=min_psnr_db)
    preprocess = Preprocess(shots=Shots(detector=None), decode=decode)
    outcome, cuts = prepare(Source(sha256(path), path, path.name, None, None, None), preprocess, clip)
    assert len(cuts) == 2
    assert all(str(candidate.engine).startswith(engine) for candidate in outcome.clips)
    assert outcome.facts.get("fallback") == reason
    assert json.dumps(outcome.facts)
