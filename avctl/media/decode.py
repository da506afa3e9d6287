"""One open file, decoded by FFmpeg (PyAV) on one CPU thread, on the presentation clock.

First one pass over the file: `scan`, which decodes everything, or a survey (`survey.py`), which decodes little. After
that `span` decodes a stretch of the picture, `read` and `sound` what is shown and heard at given times. What is decoded
is held as long as it is not too much, so that it is not decoded again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain, dropwhile, takewhile
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from avctl.media.audio import Sound, join, sound_of
from avctl.media.deinterlace import Deinterlacer
from avctl.media.fit import Fit
from avctl.media.pick import TICK, pick
from avctl.media.probe import MediaError, one_thread, open_media, probe, tracks
from avctl.media.scan import Scan, begin
from avctl.media.sparse import frames_at

T = TypeVar("T")

HOLD_BYTES = 512 * 2**20  # of decoded pictures, and of sound, kept in memory instead of decoding them again
PREROLL_S = 0.25  # sound decoded before a cut: codecs need up to 80 ms (Opus) to settle after a seek


class Media:
    """A file, open. Use as a context manager; let `scan` or a survey come to its end before `span`, `read` and `sound`.

    Raises MediaError on opening and while decoding.
    """

    def __init__(self, path: Path):
        self.path = path
        self._container = open_media(path)
        try:
            self._video, self._audio = tracks(self._container)
        except MediaError:
            self._container.close()
            raise
        self._tracks = (self._video, self._audio) if self._audio else (self._video,)
        one_thread(*self._tracks)
        self.probe = probe(self._container, self._video, self._audio)
        self.scanned = Scan()
        self._is_scanned = False  # whole, so that all damage of the picture is counted
        self._pictures: Held[av.VideoFrame] = Held()
        self._held_s = (inf, -inf)  # the times of the pictures that are held
        self._sounds: Held[Sound] = Held()
        self._deinterlacer = Deinterlacer(self._video)

    def __enter__(self) -> Media:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()

    def close(self) -> None:
        self._container.close()

    def scan(self) -> Iterator[av.VideoFrame]:
        """Every frame once, deinterlaced; meanwhile the sound is decoded too, and `scanned` filled."""
        self._is_scanned = True
        self._hold_pictures(-inf, inf)
        self.scanned, self._sounds = Scan(), Held()
        for frame in self._decode(*self._tracks, count_damage=True):
            if isinstance(frame, av.AudioFrame):
                piece = sound_of(frame)
                self.scanned.note_sound(piece)
                self._sounds.add(piece, piece.samples.nbytes)
                continue
            self.scanned.note_picture(frame)
            self._hold(frame)
            yield frame

    def span(self, begin_s: float, end_s: float) -> Iterator[av.VideoFrame]:
        """Every frame that begins in [begin_s, end_s), deinterlaced. Cheapest where a keyframe begins at `begin_s`."""
        self._hold_pictures(begin_s, end_s)
        frames = dropwhile(lambda frame: begin(frame) < begin_s - TICK, self._pictures_from(begin_s))
        for frame in takewhile(lambda frame: begin(frame) < end_s - TICK, frames):
            self._hold(frame)
            yield frame

    def read(self, times_s: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Frames (T, H, W, 3) uint8 shown at `times_s` (see `pick`), and when each is presented (T,) float64."""
        times = np.array(self.scanned.times)
        chosen, places = np.unique(pick(times, times_s, self.scanned.interval_s), return_inverse=True)
        fit = Fit(size, self.probe.pixel_aspect, self.scanned.rotation)
        frames = np.empty((len(chosen), *size, 3), np.uint8)
        for k, frame in self._pictures_at(chosen.tolist()):
            frames[k] = fit(frame)
        return frames if len(chosen) == len(places) else frames[places], times[chosen[places]]

    def sound(self, start_s: float, end_s: float) -> Sound:
        """The sound that covers these times, or as much of it as there is. MediaError: `no_sound_here`."""
        pieces = [piece for piece in self._sounds_from(start_s, end_s) if piece.end_s > start_s]
        if not pieces:
            raise MediaError("no_sound_here", f"no sound between {start_s:.3f} and {end_s:.3f} s")
        try:
            return join(pieces)
        except ValueError as error:
            raise MediaError("unsupported", str(error)) from error

    def _hold_pictures(self, begin_s: float, end_s: float) -> None:
        """Forget the pictures held so far; those of these times are about to come."""
        self._pictures, self._held_s = Held(), (begin_s, end_s)

    def _hold(self, frame: av.VideoFrame) -> None:
        self._pictures.add(frame, sum(plane.buffer_size for plane in frame.planes))

    def _pictures_at(self, chosen: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames with these indices (ascending) in `scanned.times`, each with its place in `chosen`."""
        assert self._video.time_base is not None
        base = self._video.time_base
        stamps = [round(self.scanned.times[index] / base) for index in chosen]
        places = {stamp: k for k, stamp in enumerate(stamps)}
        for frame in self._pictures_with(stamps):
            k = places.pop(round(begin(frame) / base), None)
            if k is not None:
                yield k, frame
            if not places:
                return
        raise MediaError("truncated", f"no frame at {float(min(places) * base):.3f} s")

    def _pictures_with(self, stamps: list[int]) -> Iterable[av.VideoFrame]:
        """The frames that begin at these stamps (ascending), and maybe others."""
        assert self._video.time_base is not None
        first_s, last_s = (float(stamp * self._video.time_base) for stamp in (stamps[0], stamps[-1]))
        if self._pictures.is_whole and self._held_s[0] <= first_s + TICK and last_s < self._held_s[1] - TICK:
            held = self._pictures.items
            return held[bisect_left(held, first_s - TICK, key=begin) :]
        if self.scanned.interlaced or self.scanned.damaged:  # what a frame looks like depends on its neighbours
            return self._pictures_from(first_s)
        return self._pictures_alone(stamps, first_s)

    def _pictures_alone(self, stamps: list[int], first_s: float) -> Iterator[av.VideoFrame]:
        """The frames that begin at these stamps, without their neighbours. Where one is interlaced, though no keyframe
        was, all frames from `first_s` on."""
        for frame in frames_at(self._container, self._video, stamps):
            self.scanned.damaged += frame.is_corrupt
            if frame.interlaced_frame:
                self.scanned.interlaced = True
                break
            yield frame
        if self.scanned.interlaced:
            yield from self._pictures_from(first_s)

    def _pictures_from(self, time_s: float) -> Iterable[av.VideoFrame]:
        """Frames in order, the first of them not later than `time_s`. Damage is counted where no scan has done so."""
        frames = self._seek(self._video, time_s)
        first = next(frames, None)
        if first is None or begin(first) > max(time_s, self.scanned.video_start_s) + TICK:
            return self._seek(self._video, None)  # it sought too far: from the start, slowly but surely
        return chain([first], frames)

    def _sounds_from(self, start_s: float, end_s: float) -> list[Sound]:
        if self._sounds.items and self._sounds.is_whole:
            return [piece for piece in self._sounds.items if piece.end_s > start_s and piece.start_s < end_s]
        if self._audio is None:
            return []
        pieces = map(sound_of, self._seek(self._audio, start_s - PREROLL_S))
        return list(takewhile(lambda piece: piece.start_s < end_s, pieces))

    def _seek(self, stream: VideoStream | AudioStream, time_s: float | None) -> Iterator:
        target = self.scanned.video_start_s - 10 if time_s is None else time_s
        self._deinterlacer = Deinterlacer(self._video)
        assert stream.time_base is not None
        self._container.seek(int(max(target, 0.0) / stream.time_base), stream=stream, backward=True)
        return self._decode(stream, count_damage=stream is self._video and not self._is_scanned)

    def _decode(self, *streams: VideoStream | AudioStream, count_damage: bool) -> Iterator:
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
        yield from self._deinterlacer.rest()

    def _deinterlaced(self, frame: av.VideoFrame | av.AudioFrame) -> Iterable[av.VideoFrame | av.AudioFrame]:
        if isinstance(frame, av.AudioFrame):
            return (frame,)
        self.scanned.interlaced |= frame.interlaced_frame
        return self._deinterlacer(frame)


class Held(Generic[T]):
    """Decoded things in the order in which they came, as long as they are not too many."""

    def __init__(self):
        self.items: list[T] = []
        self._num_bytes = 0

    @property
    def is_whole(self) -> bool:
        """Whether everything that was added is still there."""
        return self._num_bytes <= HOLD_BYTES

    def add(self, item: T, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        if self.is_whole:
            self.items.append(item)
        else:
            self.items.clear()
