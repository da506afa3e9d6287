"""Sound on the presentation clock: joining decoded pieces, changing rate and channels, measuring levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import av
import numpy as np

_LAYOUTS = {1: "mono", 2: "stereo"}
_GAP_S = 0.003  # time stamps on a millisecond grid (Matroska, FLV) jitter by less; a lost packet is more


@dataclass(frozen=True)
class Sound:
    """Samples (n, channels) float32, full scale 1; sample `i` is heard at `start_s + i / rate`."""

    samples: np.ndarray
    rate: int  # Hz
    start_s: float
    layout: str  # FFmpeg's name of the channel layout

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.samples) / self.rate


def join(pieces: Sequence[Sound]) -> Sound:
    """Neighbours in a track as one stretch of sound. ValueError where the format changes between them.

    Where the time stamps agree with the sample count, the clock is the mean over all frames, so that the rounding of
    stamps averages out. A gap becomes silence and an overlap is cut, so that what follows stays in place.
    """
    rate, layout = pieces[0].rate, pieces[0].layout
    if any(piece.rate != rate or piece.layout != layout for piece in pieces):
        raise ValueError("the sample rate or the channels change inside the track")
    lengths = np.array([len(piece.samples) for piece in pieces])
    stamps = np.array([piece.start_s for piece in pieces])
    counted = np.concatenate([[0], np.cumsum(lengths)[:-1]]) / rate
    offsets = stamps - counted  # seconds; equal for all frames of an undamaged track
    runs = _runs(offsets)
    if len(runs) == 1:
        return Sound(np.concatenate([piece.samples for piece in pieces]), rate, float(offsets.mean()), layout)
    start_s = float(offsets[: runs[0].stop].mean())
    places = [round((offsets[run].mean() + counted[run.start] - start_s) * rate) for run in runs]
    end = max(place + lengths[run].sum() for place, run in zip(places, runs, strict=True))
    samples = np.zeros((end, pieces[0].samples.shape[1]), np.float32)
    for place, run in zip(places, runs, strict=True):
        samples_of_run = np.concatenate([piece.samples for piece in pieces[run]])
        samples[max(place, 0) : place + len(samples_of_run)] = samples_of_run[max(-place, 0) :]
    return Sound(samples, rate, start_s, layout)


def sound_of(frame: av.AudioFrame) -> Sound:
    """One decoded frame, which must have a time stamp."""
    assert frame.time is not None
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    return Sound(_to_float(values), frame.sample_rate, frame.time, frame.layout.name)


def conform(sound: Sound, rate: int, channels: int) -> Sound:
    """The sound at another rate and number of channels (1 or 2), on the same clock.

    More channels are mixed down by libswresample's matrix, scaled so that nothing clips; mono goes to both sides
    unchanged. Rates are converted by libswresample, whose delay is compensated: time zero stays time zero.
    """
    samples = sound.samples
    mixed = min(channels, samples.shape[1])
    if sound.rate != rate or mixed != samples.shape[1]:
        samples = _swresample(sound, rate, _LAYOUTS[mixed])
    if mixed < channels:
        samples = np.repeat(samples, channels, axis=1)
    return Sound(samples, rate, sound.start_s, _LAYOUTS[channels])


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Full scale 1 to full scale 32768, rounded to the nearest, clipped at the ends."""
    return np.rint(samples * np.float32(32_768)).clip(-32_768, 32_767).astype(np.int16)


def power_db(samples: np.ndarray, rate: int, window_s: float = 0.02) -> np.ndarray:
    """Mean power of all channels in each window, in dB relative to full scale, (n,) float64; silence is -120."""
    width = max(1, round(rate * window_s))
    count = max(1, len(samples) // width)
    power = np.square(samples[: count * width], dtype=np.float64).reshape(count, -1).mean(axis=1)
    return 10 * np.log10(np.maximum(power, 1e-12))


def _to_float(values: np.ndarray) -> np.ndarray:
    """Any of FFmpeg's sample formats to float32, full scale 1."""
    if values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    return values.astype(np.float32) / 2.0 ** (8 * values.dtype.itemsize - 1)


def _runs(offsets: np.ndarray) -> list[slice]:
    """Stretches whose time stamps agree with the sample count."""
    if np.ptp(offsets) <= _GAP_S:
        return [slice(0, len(offsets))]
    breaks = [0, *(np.flatnonzero(np.abs(np.diff(offsets)) > _GAP_S) + 1), len(offsets)]
    return [slice(int(a), int(b)) for a, b in pairwise(breaks)]


def _swresample(sound: Sound, rate: int, layout: str) -> np.ndarray:
    # 16-bit output makes libswresample scale its mixing matrix so that full-scale input cannot clip.
    resampler = av.AudioResampler(format="s16p", layout=layout, rate=rate)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.samples.T), format="fltp", layout=sound.layout)
    frame.sample_rate = sound.rate
    parts = [piece.to_ndarray() for given in (frame, None) for piece in resampler.resample(given)]
    return np.concatenate(parts, axis=1).T.astype(np.float32) / np.float32(32_768)
