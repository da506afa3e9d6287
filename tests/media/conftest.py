"""Small real files of every kind: each shows a white flash and sounds a short burst at a known time."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

BURST_S = 0.01


@dataclass(frozen=True)
class Footage:
    """A file to be written. Flash and burst come at `event_s` on the presentation clock, whatever starts when."""

    name: str = "a.mp4"
    seconds: float = 2.0
    fps: int = 25
    size: tuple[int, int] = (48, 64)  # as coded
    rate: int = 48_000
    layout: str = "stereo"
    event_s: float = 1.0
    video_start_s: float = 0.0
    audio_start_s: float = 0.0
    has_video: bool = True
    has_audio: bool = True
    volume: float = 0.8
    video_codec: str = "libx264"
    audio_codec: str = "aac"
    pixel_format: str = "yuv420p"
    times: tuple[float, ...] | None = None  # of every frame, for a variable rate
    video_options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "12"})
    is_corner_marked: bool = False  # a red corner, top left as coded
    pixel_aspect: int = 1  # width of a pixel over its height
    is_moving: bool = False  # patches that move, so that no two frames are alike

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        # The edit list's clock: the default of a millisecond would move the sound by up to half of one.
        options = {"movie_timescale": str(self.rate)} if path.suffix in (".mp4", ".mov") else {}
        with av.open(str(path), "w", options=options) as file:
            frames = self._add_video(file) if self.has_video else []
            sounds = self._add_audio(file) if self.has_audio else []
            for frame in frames:
                file.mux(file.streams.video[0].encode(frame))
            for frame in sounds:
                file.mux(file.streams.audio[0].encode(frame))
            for stream in file.streams:
                file.mux(stream.encode(None))  # pyright: ignore[reportAttributeAccessIssue]
        return path

    def frame_times(self) -> np.ndarray:
        if self.times is not None:
            return np.array(self.times)
        return self.video_start_s + np.arange(round(self.seconds * self.fps)) / self.fps

    def burst(self) -> np.ndarray:
        """Sound from `audio_start_s` on, (samples,): a windowed 2 kHz tone at `event_s` over a faint noise."""
        t = self.audio_start_s + np.arange(round(self.seconds * self.rate)) / self.rate - self.event_s
        inside = (t >= 0) & (t < BURST_S)
        window = np.where(inside, np.sin(np.pi * t.clip(0, BURST_S) / BURST_S) ** 2, 0)
        noise = np.random.default_rng(0).normal(0, 0.002, len(t))
        return (self.volume * (window * np.sin(2 * np.pi * 2_000 * t) + noise)).astype(np.float32)

    def _add_video(self, file: OutputContainer) -> list[av.VideoFrame]:
        stream = file.add_stream(self.video_codec, rate=self.fps, options=self.video_options)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = self.size
        stream.pix_fmt = self.pixel_format
        stream.codec_context.sample_aspect_ratio = Fraction(self.pixel_aspect)
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1_000 * self.fps)
        frames = []
        for time in self.frame_times():
            is_flash = self.event_s - 1e-6 <= time < self.event_s + 0.1
            pixels = np.full((*self.size, 3), 250 if is_flash else 16, np.uint8)
            if self.is_moving:
                pixels = patches(self.size, len(frames))
            if self.is_corner_marked:
                pixels[:16, :16] = (255, 0, 0)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(time * 1_000 * self.fps), Fraction(1, 1_000 * self.fps)
            frames.append(frame)
        return frames

    def _add_audio(self, file: OutputContainer) -> list[av.AudioFrame]:
        stream = file.add_stream(self.audio_codec, rate=self.rate)
        assert isinstance(stream, AudioStream)
        stream.codec_context.options = {"aac_pns": "0"}  # noise that a decoder would make up anew
        stream.codec_context.layout = self.layout
        channels = av.AudioLayout(self.layout).nb_channels
        planes = np.ascontiguousarray(np.tile(self.burst(), (channels, 1)))
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=self.layout)
        frame.sample_rate, frame.time_base = self.rate, Fraction(1, self.rate)
        frame.pts = round(self.audio_start_s * self.rate)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=self.layout, rate=self.rate)
        return resampler.resample(frame)


def patches(size: tuple[int, int], index: int) -> np.ndarray:
    """(H, W, 3) uint8: squares of random greys, faintly coloured, further to the left in every frame."""
    random, shape = np.random.default_rng(0), (size[0] // 8 + 1, size[1] // 8 + 100)
    colours = random.integers(40, 208, (*shape, 1), np.uint8) + random.integers(0, 9, (*shape, 3), np.uint8)
    whole = colours.repeat(8, axis=0).repeat(8, axis=1)
    return np.ascontiguousarray(whole[: size[0], 2 * index : 2 * index + size[1]])


@pytest.fixture
def turn() -> Callable[[Path, int], None]:
    """Writes a rotation into the track header of an mp4's picture (ISO 14496-12, 8.3.2: nine 16.16 numbers)."""

    def write(path: Path, degrees: int) -> None:
        data = path.read_bytes()
        cos, sin = {0: (1, 0), 90: (0, -1), 180: (-1, 0), 270: (0, 1)}[degrees]
        matrix = struct.pack(">9i", *(round(v * 65_536) for v in (cos, sin, 0, -sin, cos, 0, 0, 0)), 1 << 30)
        place = data.index(b"tkhd") + 4 + 40  # version 0: 40 bytes before the matrix
        path.write_bytes(data[:place] + matrix + data[place + 36 :])

    return write


@pytest.fixture
def cut_by_edit_list() -> Callable[[Path, Path, float], None]:
    """Writes the same packets, those of the first seconds before time zero."""

    def write(source: Path, target: Path, seconds: float) -> None:
        with (
            av.open(str(source)) as given,
            av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as file,
        ):
            streams = {stream.index: file.add_stream_from_template(stream) for stream in given.streams}
            for packet in given.demux():
                if packet.size and packet.pts is not None and packet.dts is not None and packet.time_base:
                    ticks = round(seconds / packet.time_base)
                    packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
                    packet.stream = streams[packet.stream_index]
                    file.mux(packet)

    return write


@pytest.fixture
def footage(tmp_path: Path) -> Callable[..., Path]:
    """Write a file: `footage(name="b.mkv", rate=44_100)` is its path."""
    return lambda **changes: Footage(**changes).write(tmp_path)
