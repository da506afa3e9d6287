"""One track of a file for a model's input: the first seconds of its picture, or of its sound, in the clip's format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, takewhile
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from avctl.errors import InputError
from avctl.media.audio import Sound, conform, join, sound_of
from avctl.media.cut import MARGIN_S
from avctl.media.deinterlace import Deinterlacer
from avctl.media.fit import Fit
from avctl.media.pick import TICK
from avctl.media.probe import MediaError, audio_track, open_media, video_track
from avctl.media.scan import begin
from avctl.schema import Clip


def load_frames(path: Path, clip: Clip, count: int) -> np.ndarray:
    """The first `count` frames (T, H, W, 3) uint8 at the clip's size and rate. InputError where there are fewer.

    The frame for a time is the last one that begins less than half a frame interval after it, as in `media.pick`;
    the last frame of the file stays for one interval.
    """
    frames: list[np.ndarray] = []
    with _opened(path) as container:
        stream = video_track(container)
        interval = 1 / float(stream.average_rate or clip.fps)
        decoded = _pictures(container, stream)
        current = next(decoded, None)
        if current is None:
            raise InputError(f"`{path}` holds no frame that decodes")
        first_s, fit = begin(current), Fit(clip.size, float(stream.sample_aspect_ratio or 1), current.rotation)
        for upcoming in chain(decoded, [None]):
            end_s = begin(upcoming) - interval / 2 if upcoming else begin(current) + interval
            while len(frames) < count and len(frames) / clip.fps < end_s - first_s - TICK:
                frames.append(fit(current))
            if len(frames) == count:
                return np.stack(frames)
            current = upcoming or current
    raise InputError(f"`{path}` shows {len(frames)} frames at {clip.fps} a second, {count} are needed")


def load_sound(path: Path, clip: Clip, count: int) -> np.ndarray:
    """The first `count` samples (samples, channels) float32 in the clip's format. InputError where there are fewer.

    The first is heard when the first frame is shown, after silence where sound sets in later; without a picture it is
    the first of the track.
    """
    start_s = _picture_start(path)
    with _opened(path) as container:
        track = audio_track(container)
        if track is None:
            raise InputError(f"`{path}` has no audio track")
        pieces = (sound_of(frame) for frame in container.decode(track) if frame.pts is not None)
        samples = _heard(pieces, start_s, clip, count)
    if len(samples) < count:
        held, needed = len(samples) / clip.sample_rate, count / clip.sample_rate
        raise InputError(f"`{path}` holds {held:.2f} s of sound, {needed:.2f} are needed")
    return samples


def _heard(pieces: Iterator[Sound], start_s: float | None, clip: Clip, count: int) -> np.ndarray:
    """`count` samples from `start_s` on, or from the first; fewer where the track ends before."""
    first = next(pieces, None)
    if first is None:
        return np.empty((0, clip.channels), np.float32)
    begin_s = first.start_s if start_s is None else start_s
    end_s = begin_s + count / clip.sample_rate + MARGIN_S
    inside = [first, *takewhile(lambda piece: piece.start_s < end_s, pieces)]
    sound = conform(join(inside), clip.sample_rate, clip.channels)
    place = round((begin_s - sound.start_s) * clip.sample_rate)
    silence = min(max(-place, 0), count)
    return np.pad(sound.samples[max(place, 0) :], ((silence, 0), (0, 0)))[:count]


def _picture_start(path: Path) -> float | None:
    """When the first frame is shown. None for a file without a picture, or with one that cannot be read."""
    with _opened(path) as container, suppress(MediaError, av.error.FFmpegError):
        return next(map(begin, _pictures(container, video_track(container))), None)


def _pictures(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Every frame that has a time, deinterlaced."""
    deinterlacer = Deinterlacer(stream)
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield from deinterlacer(frame)
    yield from deinterlacer.rest()


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    """The file, while it is read. InputError where it is no medium, lacks a track, or does not decode."""
    try:
        with open_media(path) as container:
            yield container
    except (MediaError, av.error.FFmpegError, ValueError) as error:
        raise InputError(f"`{path}`: {error}") from error
