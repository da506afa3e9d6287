"""Every engine gives PyAV's frames for PyAV's times, or says by name why it does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avctl.errors import MachineError
from avctl.media.decode import Media
from avctl.media.engines import Engine, EngineError, Name, build
from avctl.media.parity import psnr_db

Make = Callable[..., Path]
SIZE = (48, 80)
X264 = {"preset": "veryfast", "crf": "12", "threads": "1"}
CODECS: dict[Name, dict[str, Any]] = {
    "pyav": {"video_options": X264 | {"bf": "3", "g": "12"}},
    "torchcodec": {"video_options": X264 | {"bf": "3", "g": "12"}},
    "dali": {"video_codec": "libvpx-vp9", "video_options": {"cpu-used": "8", "crf": "12", "b": "0", "g": "12"}},
}
ENGINES = [pytest.param(name, marks=pytest.mark.ffmpeg) if name == "torchcodec" else name for name in CODECS]
TIMES = (*np.arange(0, 0.48, 0.04), *np.arange(0.6, 1.5, 0.06), *np.arange(1.52, 2.0, 0.04))
ODD: dict[str, dict[str, Any]] = {
    "constant rate": {},
    "variable rate": {"times": TIMES},
    "starts late": {"video_start_s": 0.08},
    "odd size": {"size": (49, 75), "pixel_format": "yuv444p"},
    "tall": {"size": (112, 64)},
    "matroska": {"name": "a.mkv"},
}


def opened(path: Path) -> Media:
    media = Media(path)
    for _ in media.scan():
        pass
    return media


def assert_same(engine: Engine, path: Path, least_db: float = 30.0) -> None:
    """As many frames, the same ones at the same times, and no other frame of the file resembles them more."""
    with opened(path) as media:
        times = np.array(media.scanned.times)
        assert engine.count(media) == len(times)
        wanted = np.linspace(times[0], times[-1] + 0.019, 23)
        expected, shown = media.read(wanted, SIZE)
        frames, given = engine.read(media, wanted, SIZE)
    assert frames.dtype == np.uint8 and frames.shape == expected.shape
    assert given == pytest.approx(shown, abs=1e-6)
    likeness = np.array([[psnr_db(a, b) for b in expected] for a in frames])
    assert np.diag(likeness).min() >= least_db
    assert (np.diag(likeness) == likeness.max(axis=1)).all()


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ENGINES)
def test_odd_files_give_the_frames_of_pyav(footage: Make, name: Name, kind: str) -> None:
    assert_same(build(name), footage(**{"size": (72, 96), "is_moving": True, **CODECS[name], **ODD[kind]}))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("name", ENGINES[:2])
def test_ten_bits_are_read_as_eight(footage: Make, name: Name, codec: str) -> None:
    options = {"crf": "12", "x265-params": "log-level=none"}
    path = footage(is_moving=True, video_codec=codec, pixel_format="yuv420p10le", video_options=options)
    assert_same(build(name), path)


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("name", ENGINES)
def test_a_turned_recording_is_upright(
    footage: Make, turn: Callable[[Path, int], None], name: Name, degrees: int
) -> None:
    path = footage(size=(72, 96), is_moving=True, **CODECS[name])
    turn(path, degrees)
    assert_same(build(name), path)


@pytest.mark.parametrize("name", ENGINES)
def test_pixels_that_are_not_square_are_stretched(footage: Make, name: Name) -> None:
    assert_same(build(name), footage(name="a.mkv", size=(72, 96), is_moving=True, pixel_aspect=2, **CODECS[name]))


@pytest.mark.parametrize("name", ENGINES)
def test_frames_that_an_edit_list_cuts_off_are_not_counted(
    footage: Make, cut_by_edit_list: Callable[[Path, Path, float], None], tmp_path: Path, name: Name
) -> None:
    cut_by_edit_list(footage(size=(72, 96), is_moving=True, **CODECS[name]), tmp_path / "b.mp4", 0.6)
    assert_same(build(name), tmp_path / "b.mp4")


@pytest.mark.parametrize("name", ENGINES)
def test_tall_pictures_are_read_by_the_matrix_of_high_definition(footage: Make, name: Name) -> None:
    """Nothing says by which matrix the file is coded: from 720 lines on it is BT.709."""
    path = footage(size=(720, 96), seconds=0.4, event_s=9.0, is_corner_marked=True, **CODECS[name])
    with opened(path) as media:
        expected = media.read(np.array([0.2]), (720, 96))[0][0, 4:12, 4:12].astype(int)
        red = build(name).read(media, np.array([0.2]), (720, 96))[0][0, 4:12, 4:12].astype(int)
    assert np.abs(red - expected).max() <= 4
    assert red[..., 1].min() > 20  # the mark is pure red as BT.601 codes it


@pytest.mark.parametrize("name", ENGINES[1:])
def test_what_only_pyav_does_is_refused_by_name(footage: Make, name: Name) -> None:
    engine = build(name)
    woven = footage(video_options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    assert reason(engine, woven) == "interlaced"
    small, large = footage(name="a.ts"), footage(name="b.ts", size=(64, 96), video_start_s=2.1, audio_start_s=2.1)
    small.write_bytes(small.read_bytes() + large.read_bytes())
    assert reason(engine, small) == "changes_size"
    path = footage(size=(128, 128), seconds=3.0)
    data = bytearray(path.read_bytes())
    data[5_000:9_000] = np.random.default_rng(0).integers(0, 256, 4_000, np.uint8).tobytes()
    path.write_bytes(data)
    assert reason(engine, path) == "damaged"


def test_a_change_of_size_is_fitted_by_pyav(footage: Make) -> None:
    small, large = footage(name="a.ts"), footage(name="b.ts", size=(64, 96), video_start_s=2.1, audio_start_s=2.1)
    small.write_bytes(small.read_bytes() + large.read_bytes())
    with opened(small) as media:
        assert media.scanned.sizes == {(48, 64), (64, 96)}
        times = np.array(media.scanned.times)
        frames, shown = media.read(times, SIZE)
    assert frames.shape == (100, *SIZE, 3) and np.array_equal(shown, times)


def reason(engine: Engine, path: Path) -> str:
    with opened(path) as media, pytest.raises(EngineError) as caught:
        engine.read(media, np.array([0.1, 0.2]), SIZE)
    return caught.value.reason


@pytest.mark.parametrize(("name", "package", "extra"), [("dali", "nvidia", "gpu"), ("torchcodec",) * 3])
def test_an_engine_that_is_not_installed_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, name: Name, package: str, extra: str
) -> None:
    build.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    if name == "torchcodec":
        monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(MachineError) as caught:
        build(name)
    assert caught.value.hint == f"pip install 'avctl[{extra}]'"


@pytest.mark.ffmpeg
def test_a_machine_without_ffmpeg_says_so_before_any_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    build.cache_clear()
    monkeypatch.setattr("torchcodec.ffmpeg_major_version", None)
    with pytest.raises(MachineError, match="torchcodec finds no FFmpeg"):
        build("torchcodec")
