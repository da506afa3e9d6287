"""A track of any file in the format of a clip: the frame shown at each time, the samples from the first on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from avctl.errors import InputError
from avctl.media.load import load_frames, load_sound
from avctl.media.mux import write_mp4
from avctl.schema import Clip

BURST_S = 0.01  # of footage; it begins with the flash


def clip(fps: int = 10, size: tuple[int, int] = (32, 32), rate: int = 8_000, channels: int = 2) -> Clip:
    return Clip(seconds=2.0, size=size, fps=fps, sample_rate=rate, channels=channels)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: 20 frames that get lighter by 12 grey levels each, and a tone that is louder on the left."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    frames = np.broadcast_to((12 * np.arange(20, dtype=np.uint8))[:, None, None, None], (20, 32, 32, 3))
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(16_000) / 8_000)
    write_mp4(path, frames.copy(), (tone[:, None] * (1.0, 0.5)).astype(np.float32), 10, 8_000)
    return path


def shown(path: Path, fps: int, count: int) -> list[int]:
    """Which frames of the film are seen."""
    return [round(value / 12) for value in load_frames(path, clip(fps), count)[:, 8, 8, 0]]


def test_frames_come_at_the_rate_of_the_clip(film: Path) -> None:
    assert shown(film, 10, 20) == list(range(20))
    assert shown(film, 5, 10) == list(range(0, 20, 2))


def test_between_two_frames_the_nearest_is_seen(film: Path) -> None:
    assert shown(film, 8, 16) == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 13, 14, 15, 16, 18, 19]


def test_the_last_frame_stays_to_the_end_of_the_film_and_no_longer(film: Path) -> None:
    assert shown(film, 40, 80)[-4:] == [19] * 4
    with pytest.raises(InputError, match="shows 80 frames at 40 a second, 81 are needed"):
        load_frames(film, clip(40), 81)


def test_only_the_start_is_taken(film: Path) -> None:
    assert shown(film, 10, 3) == [0, 1, 2]
    assert len(load_sound(film, clip(), 1_234)) == 1_234


def test_frames_have_the_size_of_the_clip(film: Path) -> None:
    frames = load_frames(film, clip(size=(16, 24)), 4)
    assert frames.shape == (4, 16, 24, 3) and frames.dtype == np.uint8


def test_samples_come_from_zero_on(film: Path) -> None:
    sound = load_sound(film, clip(), 16_000)
    assert sound.shape == (16_000, 2)
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(16_000) / 8_000)
    assert np.abs(sound[1_000:-1_000] - tone[1_000:-1_000, None] * (1.0, 0.5)).max() < 0.05


@pytest.mark.parametrize("late", [{"video_start_s": 0.24}, {"audio_start_s": 0.24}], ids=str)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_sound_begins_with_the_picture(footage: Callable[..., Path], name: str, late: dict[str, float]) -> None:
    path = footage(name=name, layout="mono", **late)
    flash = int(load_frames(path, clip(fps=25), 40).mean(axis=(1, 2, 3)).argmax())
    burst = int(np.abs(load_sound(path, clip(rate=48_000), 72_000)[:, 0]).argmax())
    assert 0 <= burst / 48_000 - flash / 25 < BURST_S


def test_without_a_picture_sound_begins_when_it_begins(footage: Callable[..., Path]) -> None:
    path = footage(name="a.mkv", has_video=False, audio_start_s=0.24)
    burst = int(np.abs(load_sound(path, clip(rate=48_000), 72_000)[:, 0]).argmax())
    assert 0 <= burst / 48_000 - (1.0 - 0.24) < BURST_S


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 2), (8_000, 1), (12_000, 1)])
def test_sound_has_the_rate_and_the_channels_of_the_clip(film: Path, rate: int, channels: int) -> None:
    sound = load_sound(film, clip(rate=rate, channels=channels), 2 * rate - 200)
    assert sound.shape == (2 * rate - 200, channels)
    spectrum = np.abs(np.fft.rfft(sound[:rate, 0]))
    assert int(spectrum.argmax()) == 500


def test_too_little_sound_is_refused_with_both_lengths(film: Path) -> None:
    with pytest.raises(InputError, match=r"holds 2\.\d\d s of sound, 3\.00 are needed"):
        load_sound(film, clip(), 24_000)


def test_the_first_samples_are_those_of_the_whole_track(footage: Callable[..., Path]) -> None:
    path = footage(name="a.wav", audio_codec="pcm_s16le", has_video=False, event_s=0.256)
    whole, part = (load_sound(path, clip(rate=16_000), count) for count in (24_000, 4_096))  # 0.256 s: whole packets
    assert np.array_equal(whole[:4_096], part)


def test_what_comes_after_the_samples_that_are_taken_is_not_decoded(tmp_path: Path, film: Path) -> None:
    data = film.read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[:-2_000] + b"\xff" * 2_000)
    with pytest.raises(InputError, match=r"a\.mp4"):
        load_sound(tmp_path / "a.mp4", clip(), 16_000)
    assert np.array_equal(load_sound(tmp_path / "a.mp4", clip(), 4_000), load_sound(film, clip(), 4_000))


@pytest.mark.parametrize("load", [load_frames, load_sound])
def test_what_is_no_film_is_refused_by_name(tmp_path: Path, film: Path, load: Callable[..., np.ndarray]) -> None:
    (tmp_path / "text.mp4").write_text("not a film")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[:600])
    for name in ("text.mp4", "empty.mp4", "cut.mp4", "missing.mp4"):
        with pytest.raises(InputError, match=name):
            load(tmp_path / name, clip(), 4)


def test_a_film_whose_data_is_damaged_is_refused(tmp_path: Path, film: Path) -> None:
    data = film.read_bytes()
    start = data.index(b"mdat") + 4
    (tmp_path / "damaged.mp4").write_bytes(data[:start] + b"\xff" * (len(data) - start))
    for load in (load_frames, load_sound):
        with pytest.raises(InputError, match=r"damaged\.mp4"):
            load(tmp_path / "damaged.mp4", clip(), 4)


def test_a_missing_track_is_named(tmp_path: Path, film: Path) -> None:
    with av.open(str(film)) as source:
        for kind in ("video", "audio"):
            with av.open(str(tmp_path / f"{kind}.mp4"), "w") as target:
                stream = target.add_stream_from_template(getattr(source.streams, kind)[0])
                source.seek(0)
                for packet in source.demux(getattr(source.streams, kind)[0]):
                    if packet.dts is not None:
                        packet.stream = stream
                        target.mux(packet)
    with pytest.raises(InputError, match="has no moving picture"):
        load_frames(tmp_path / "audio.mp4", clip(), 4)
    with pytest.raises(InputError, match="has no audio track"):
        load_sound(tmp_path / "video.mp4", clip(), 4)


def test_a_cover_is_no_moving_picture(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as file:
        song = file.add_stream("aac", rate=8_000, layout="mono")
        cover = file.add_stream("mjpeg", width=32, height=32, pix_fmt="yuvj420p", disposition=Disposition.attached_pic)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8_000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8_000
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        picture.pts = 0
        file.mux([*song.encode(silence), *song.encode(None), *cover.encode(picture), *cover.encode(None)])
    with pytest.raises(InputError, match="has no moving picture"):
        load_frames(path, clip(), 1)
    assert len(load_sound(path, clip(), 4_000)) == 4_000


@pytest.mark.parametrize(("load", "names"), [(load_frames, (b"avc1",)), (load_sound, (b"mp4a", b"esds"))])
def test_a_codec_that_ffmpeg_lacks_is_refused_by_name(
    tmp_path: Path, film: Path, load: Callable[..., np.ndarray], names: tuple[bytes, ...]
) -> None:
    data = film.read_bytes()
    for name in names:
        data = data.replace(name, b"zzzz")
    (tmp_path / "odd.mp4").write_bytes(data)
    with pytest.raises(InputError, match=r"odd\.mp4`: unsupported"):
        load(tmp_path / "odd.mp4", clip(), 4)
