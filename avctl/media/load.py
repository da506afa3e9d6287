"""One track of a file for a model's input: the first seconds of its picture, or of its sound, in the clip's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avctl.errors import InputError
from avctl.media.audio import conform, join
from avctl.media.decode import begin
from avctl.media.fit import Fit
from avctl.media.probe import MediaError, open_media
from avctl.schema import Clip


def load_frames(path: Path, clip: Clip, count: int) -> np.ndarray:
    """The first `count` frames (T, H, W, 3) uint8 at the clip's size and rate. InputError where there are fewer."""
    fit: Fit | None = None
    frames: list[np.ndarray] = []
    with _opened(path, "video") as container:
        stream = container.streams.video[0]
        first_s: float | None = None
        for frame in container.decode(stream):
            first_s = begin(frame) if first_s is None else first_s
            aspect = float(stream.codec_context.sample_aspect_ratio or 1)
            fit = fit or Fit(clip.size, aspect, frame.rotation)
            while len(frames) < count and begin(frame) - first_s >= (len(frames) - 0.5) / clip.fps:
                frames.append(fit(frame))
            if len(frames) == count:
                return np.stack(frames)
    raise InputError(f"`{path}` shows {len(frames)} frames at {clip.fps} a second, {count} are needed")


def load_sound(path: Path, clip: Clip, count: int) -> np.ndarray:
    """The first `count` samples (samples, channels) float32 in the clip's format. InputError where there are fewer."""
    with _opened(path, "audio") as container:
        sound = conform(join(list(container.decode(audio=0))), clip.sample_rate, clip.channels)
    if len(sound.samples) < count:
        held, needed = len(sound.samples) / clip.sample_rate, count / clip.sample_rate
        raise InputError(f"`{path}` holds {held:.2f} s of sound, {needed} are needed")
    return sound.samples[:count]


def _opened(path: Path, kind: str):
    try:
        container = open_media(path)
    except MediaError as error:
        raise InputError(f"`{path}`: {error}") from error
    if not getattr(container.streams, kind):
        container.close()
        raise InputError(f"`{path}` has no {kind} track")
    return container
