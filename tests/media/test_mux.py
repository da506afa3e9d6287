"""What is written is what a player gets back: every frame, every sample, from zero on."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from avctl.media.mux import write_mp4

RATE = 16_000


def moving_square(frames: int, height: int = 64, width: int = 64) -> np.ndarray:
    """A red square that goes right by two pixels a frame, (T, H, W, 3)."""
    pixels = np.full((frames, height, width, 3), 20, np.uint8)
    for index in range(frames):
        pixels[index, 20:40, 2 * index % width : 2 * index % width + 16] = (230, 30, 30)
    return pixels


def chirp(samples: int, channels: int = 2, rate: int = RATE) -> np.ndarray:
    """A rising tone, full scale 0.5, the second channel half as loud, (samples, channels)."""
    t = np.arange(samples) / rate
    tone = 0.5 * np.sin(2 * np.pi * (300 * t + 400 * t**2))
    return (tone[:, None] * (1.0, 0.5)[:channels]).astype(np.float32)


def read(path: Path) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Frames, samples up to the length of the edit list, and the time of each frame in seconds."""
    with av.open(str(path)) as file:
        pictures = list(file.decode(video=0))
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        sound = list(file.decode(stream))
        assert sound[0].pts == 0 and stream.time_base is not None and stream.time_base * stream.rate == 1
        samples = np.concatenate([frame.to_ndarray() for frame in sound], axis=1).T[: stream.duration]
    return np.stack([frame.to_ndarray(format="rgb24") for frame in pictures]), samples, [f.time or 0 for f in pictures]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("samples", "rate"), [(32_000, 16_000), (31_999, 16_000), (500, 48_000), (44_101, 44_100)])
def test_every_sample_comes_back_in_its_place(tmp_path: Path, samples: int, rate: int, channels: int) -> None:
    audio = chirp(samples, channels, rate)
    write_mp4(tmp_path / "clip.mp4", moving_square(4), audio, 16, rate)
    _, back, _ = read(tmp_path / "clip.mp4")
    assert back.shape == audio.shape
    errors = [np.square(np.roll(back, lag, axis=0) - audio).mean() for lag in (-1, 0, 1)]
    assert np.argmin(errors) == 1 and errors[1] < 0.03 * np.square(audio).mean()


@pytest.mark.parametrize("fps", [16, 24])
def test_every_frame_comes_back_at_its_time(tmp_path: Path, fps: int) -> None:
    frames = moving_square(24)
    write_mp4(tmp_path / "clip.mp4", frames, chirp(RATE), fps, RATE)
    back, _, times = read(tmp_path / "clip.mp4")
    assert back.shape == frames.shape
    assert np.allclose(times, np.arange(24) / fps, atol=1e-4)
    nearest = np.abs(back[:, None, ..., 0].astype(int) - frames[None, ..., 0].astype(int)).mean((2, 3)).argmin(1)
    assert (nearest == np.arange(24)).all()


def test_colours_survive_the_way_through_yuv(tmp_path: Path) -> None:
    colours = np.array(
        [(255, 30, 30), (30, 230, 30), (40, 60, 255), (30, 230, 230), (128, 128, 128), (20, 20, 26)], np.uint8
    )
    frames = np.broadcast_to(colours[:, None, None], (6, 64, 64, 3)).copy()
    write_mp4(tmp_path / "clip.mp4", frames, chirp(RATE), 6, RATE)
    back, _, _ = read(tmp_path / "clip.mp4")
    assert np.abs(back.astype(int) - frames).max() <= 6
    with av.open(str(tmp_path / "clip.mp4")) as file:
        assert file.streams.video[0].codec_context.colorspace == 6


def test_equal_clips_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_mp4(tmp_path / name, moving_square(32), chirp(32_000), 16, RATE)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_the_index_stands_before_the_data_and_names_no_date(tmp_path: Path) -> None:
    write_mp4(tmp_path / "clip.mp4", moving_square(4), chirp(RATE), 16, RATE)
    data = (tmp_path / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert b"Lavf" not in data and data[data.index(b"mvhd") + 8 :][:8] == bytes(8)


def test_samples_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    write_mp4(tmp_path / "clip.mp4", moving_square(4), 8 * chirp(8_000), 16, RATE)
    _, back, _ = read(tmp_path / "clip.mp4")
    assert np.abs(back).max() < 1.5


@pytest.mark.parametrize(
    ("frames", "audio", "rate", "fps", "message"),
    [
        (moving_square(4, 63), chirp(100), RATE, 16, "63x64"),
        (moving_square(4, 64, 33), chirp(100), RATE, 16, "64x33"),
        (moving_square(4).astype(np.float32), chirp(100), RATE, 16, "float32"),
        (moving_square(4)[:0], chirp(100), RATE, 16, "T >= 1"),
        (moving_square(4), np.zeros((100, 3)), RATE, 16, "1 or 2 channels"),
        (moving_square(4), np.full((100, 1), np.nan), RATE, 16, "not finite"),
        (moving_square(4), chirp(100), 10_000, 16, "10000 Hz"),
        (moving_square(4), chirp(100), RATE, 0, "0 frames a second"),
    ],
)
def test_what_an_mp4_cannot_hold_is_refused_by_name(
    tmp_path: Path, frames: np.ndarray, audio: np.ndarray, rate: int, fps: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_mp4(tmp_path / "clip.mp4", frames, audio, fps, rate)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_mp4(path, moving_square(4), chirp(100), 16, RATE)
    assert list(tmp_path.iterdir()) == [path]
