"""Cuts a clip with sound and picture on one clock.

The clip begins when its first frame is presented: `p`. Its first sample is the one heard at `p`, so what is left
between them is less than one sample; that rest is the clip's skew, and it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avctl.media.audio import Sound, conform, to_int16
from avctl.media.decode import Media
from avctl.media.engines.fallback import Reader
from avctl.media.probe import MediaError
from avctl.schema import Clip

MARGIN_S = 0.1  # sound taken along at both ends, so that resampling meets no edge inside the clip
MAX_PADDING_S = 0.025  # silence that a clip may get at its ends: one AAC frame at 44.1 kHz is 23 ms


@dataclass(frozen=True)
class Cut:
    """A clip as the recipe describes it."""

    frames: np.ndarray  # (T, H, W, 3) uint8
    audio: np.ndarray  # (samples, channels) int16; no samples where the source has no sound
    skew: float  # samples by which the first sample is heard after the first frame is shown; |skew| <= 0.5
    padded: int  # samples of silence added where the track has not begun yet or has ended


def cut(media: Media, start_s: float, clip: Clip, sound: Sound | None = None, reader: Reader | None = None) -> Cut:
    """The clip that begins at `start_s` on the presentation clock of `media`.

    `sound` may hold what `stretch` has already decoded; `reader` gives the frames, or else PyAV does. MediaError:
    `no_sound_here` where more than `MAX_PADDING_S` of the clip has no sound, `truncated` where frames are missing.
    """
    frames, shown = (reader or media).read(start_s + np.arange(clip.frames) / clip.fps, clip.size)
    if not media.scanned.has_sound:
        return Cut(frames, np.empty((0, clip.channels), np.int16), 0.0, 0)
    heard = conform(sound or stretch(media, float(shown[0]), clip), clip.sample_rate, clip.channels)
    place = (shown[0] - heard.start_s) * clip.sample_rate  # of the first frame, in samples
    first = round(place)
    audio, padded = _window(heard.samples, first, clip.samples)
    if padded > MAX_PADDING_S * clip.sample_rate:
        raise MediaError("no_sound_here", f"{padded} samples of the clip at {start_s:.3f} s have no sound")
    return Cut(frames, to_int16(audio), float(first - place), padded)


def stretch(media: Media, start_s: float, clip: Clip) -> Sound:
    """The source's own samples around the clip that begins at `start_s`."""
    return media.sound(start_s - MARGIN_S, start_s + clip.seconds + MARGIN_S)


def _window(samples: np.ndarray, first: int, length: int) -> tuple[np.ndarray, int]:
    """`length` samples from index `first` on, silence where there are none, and how many of those there are."""
    out = np.zeros((length, samples.shape[1]), np.float32)
    begin, end = max(first, 0), min(first + length, len(samples))
    if end > begin:
        out[begin - first : end - first] = samples[begin:end]
    return out, length - max(0, end - begin)
