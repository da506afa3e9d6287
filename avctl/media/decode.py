"""One open file, decoded by FFmpeg (PyAV) on one CPU thread: everything once, or the frames of given times.

This is the interface that other engines (DALI, torchcodec) join: `scan`, `read` and `sound`, on the presentation clock.
A file that is small when decoded is decoded once and held; of a larger one, `read` and `sound` seek.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, takewhile
from pathlib import Path
from types import TracebackType

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from avctl.media.audio import Sound, join, sound_of
from avctl.media.deinterlace import Deinterlacer
from avctl.media.fit import Fit
from avctl.media.probe import MediaError, open_media, probe, tracks

HOLD_BYTES = 256 * 2**20  # decoded pictures and sound kept in memory instead of decoding them again
PREROLL_S = 0.25  # sound decoded before a cut: codecs need up to 80 ms (Opus) to settle after a seek
_TICK = 1e-6  # seconds; time stamps closer than this are equal


@dataclass
class Scan:
    """What one whole pass measured. Times in seconds on the presentation clock."""

    times: list[float] = field(default_factory=list)  # of every frame
    audio_start_s: float = 0.0
    audio_end_s: float = 0.0  # of what decodes; a declared end, where there is one, is nearer the truth
    num_audio_frames: int = 0
    peak: float = 0.0  # of the whole sound track, full scale 1
    damaged: int = 0  # packets that do not decode, or decode to a picture that the decoder calls corrupt
    interlaced: bool = False
    rotation: int = 0  # degrees counterclockwise that make the picture upright

    @property
    def interval_s(self) -> float:
        """The usual time from one frame to the next."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    @property
    def fps(self) -> float:
        """Mean frame rate."""
        span = self.times[-1] - self.times[0] if len(self.times) > 1 else 0.0
        return (len(self.times) - 1) / span if span > 0 else 0.0

    @property
    def is_variable(self) -> bool:
        """Whether some frame stays longer or shorter by more than a millisecond grid explains."""
        return len(self.times) > 1 and bool(np.abs(np.diff(self.times) - self.interval_s).max() > 0.0025)

    @property
    def video_start_s(self) -> float:
        return self.times[0]

    @property
    def video_end_s(self) -> float:
        return self.times[-1] + self.interval_s


class Media:
    """A file, open. Use as a context manager; call `scan` to its end before `read` and `sound`.

    Raises MediaError on opening and while decoding.
    """

    def __init__(self, path: Path):
        self._container = open_media(path)
        try:
            self._video, self._audio = tracks(self._container)
        except MediaError:
            self._container.close()
            raise
        for context in (self._video.codec_context, self._audio.codec_context):
            context.thread_type, context.thread_count = "NONE", 1
        self.probe = probe(self._container, self._video, self._audio)
        self.scanned = Scan()
        self._pictures: list[av.VideoFrame] = []
        self._sounds: list[Sound] = []
        self._held_bytes = 0
        self._deinterlacer: Deinterlacer | None = None

    def __enter__(self) -> Media:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._container.close()

    def scan(self) -> Iterator[av.VideoFrame]:
        """Every frame once, deinterlaced; meanwhile the sound is decoded too, and `scanned` filled."""
        scanned = self.scanned
        for frame in self._decode(self._video, self._audio, count_damage=True):
            if isinstance(frame, av.AudioFrame):
                self._note_sound(sound_of(frame))
                continue
            if not scanned.times:
                scanned.rotation = frame.rotation
            scanned.times.append(begin(frame))
            if self._hold(sum(plane.buffer_size for plane in frame.planes)):
                self._pictures.append(frame)
            yield frame

    def read(self, times_s: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Frames (T, H, W, 3) uint8 shown at `times_s`, and when each is presented (T,) float64.

        The frame for a time is the last one that begins less than half a frame interval after it: at a constant rate
        the nearest one (the earlier of two), at a variable rate never one from beyond a long still picture.
        """
        fit = Fit(size, self.probe.pixel_aspect, self.scanned.rotation)
        half = self.scanned.interval_s / 2
        frames = np.empty((len(times_s), *size, 3), np.uint8)
        shown = np.empty(len(times_s))
        for k, (frame, repeats) in enumerate(_pick(self._pictures_from(times_s[0] + half), times_s, half)):
            frames[k] = frames[k - 1] if repeats else fit(frame)
            shown[k] = begin(frame)
        return frames, shown

    def sound(self, start_s: float, end_s: float) -> Sound:
        """The sound that covers these times, or as much of it as there is. MediaError: `no_sound_here`."""
        pieces = [piece for piece in self._sounds_from(start_s, end_s) if piece.end_s > start_s]
        if not pieces:
            raise MediaError("no_sound_here", f"no sound between {start_s:.3f} and {end_s:.3f} s")
        try:
            return join(pieces)
        except ValueError as error:
            raise MediaError("unsupported", str(error)) from error

    def _note_sound(self, piece: Sound) -> None:
        scanned = self.scanned
        if not scanned.num_audio_frames:
            scanned.audio_start_s = piece.start_s
        scanned.num_audio_frames += 1
        scanned.audio_end_s = max(scanned.audio_end_s, piece.end_s)
        scanned.peak = max(scanned.peak, float(piece.samples.max(initial=0)), -float(piece.samples.min(initial=0)))
        if self._hold(piece.samples.nbytes):
            self._sounds.append(piece)

    def _hold(self, num_bytes: int) -> bool:
        """Whether so many bytes more can be kept. When they cannot, nothing is."""
        self._held_bytes += num_bytes
        if not self._is_held:
            self._pictures.clear()
            self._sounds.clear()
        return self._is_held

    @property
    def _is_held(self) -> bool:
        return self._held_bytes <= HOLD_BYTES

    def _pictures_from(self, time_s: float) -> Iterable[av.VideoFrame]:
        """Frames in order, the first of them not later than `time_s`."""
        if self._is_held:
            first = bisect_right(self._pictures, time_s + _TICK, key=begin) - 1
            return self._pictures[max(0, first) :]
        frames = self._seek(self._video, time_s)
        first = next(frames, None)
        if first is None or begin(first) > max(time_s, self.scanned.video_start_s) + _TICK:
            return self._seek(self._video, None)  # the container sought too far: from the start, slowly but surely
        return chain([first], frames)

    def _sounds_from(self, start_s: float, end_s: float) -> list[Sound]:
        if self._is_held:
            return [piece for piece in self._sounds if piece.end_s > start_s and piece.start_s < end_s]
        pieces = map(sound_of, self._seek(self._audio, start_s - PREROLL_S))
        return list(takewhile(lambda piece: piece.start_s < end_s, pieces))

    def _seek(self, stream: VideoStream | AudioStream, time_s: float | None) -> Iterator:
        target = self.scanned.video_start_s - 10 if time_s is None else time_s
        self._deinterlacer = None
        assert stream.time_base is not None
        self._container.seek(int(max(target, 0.0) / stream.time_base), stream=stream, backward=True)
        return self._decode(stream)

    def _decode(self, *streams: VideoStream | AudioStream, count_damage: bool = False) -> Iterator:
        """Decoded frames of the streams in the order in which they come, those without a time stamp left out."""
        for packet in self._container.demux(*streams):
            try:
                frames = packet.decode()
            except av.error.MemoryError:
                raise  # the worker's limit
            except av.error.FFmpegError:
                self.scanned.damaged += count_damage
                continue
            for frame in frames:
                assert isinstance(frame, av.VideoFrame | av.AudioFrame)
                self.scanned.damaged += count_damage and frame.is_corrupt
                if frame.pts is not None:
                    yield from self._deinterlaced(frame)
        if self._deinterlacer:
            yield from self._deinterlacer.rest()

    def _deinterlaced(self, frame: av.VideoFrame | av.AudioFrame) -> Iterable[av.VideoFrame | av.AudioFrame]:
        if isinstance(frame, av.AudioFrame) or not (self._deinterlacer or frame.interlaced_frame):
            return (frame,)
        if self._deinterlacer is None:
            self.scanned.interlaced = True
            self._deinterlacer = Deinterlacer(self._video)
        return self._deinterlacer(frame)


def _pick(frames: Iterable[av.VideoFrame], times: np.ndarray, half: float) -> Iterator[tuple[av.VideoFrame, bool]]:
    """For every time the last frame that begins before `time + half`, and whether it is the one before again."""
    k, current, picked = 0, None, None
    for upcoming in chain(frames, [None]):
        while current is not None and k < len(times) and (not upcoming or begin(upcoming) >= times[k] + half - _TICK):
            yield current, current is picked
            picked, k = current, k + 1
        if k == len(times):
            return
        current = upcoming
    raise MediaError("truncated", f"no frame at {times[k]:.3f} s")


def begin(frame: av.VideoFrame) -> float:
    """When the frame is shown, in seconds on the presentation clock."""
    assert frame.time is not None
    return frame.time
