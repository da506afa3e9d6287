"""What is to be heard in a clip of the small world, read from its samples: pitch, timbre, place, and when it sounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from avctl.media.synthetic.world import COLOURS, FREQUENCIES_HZ

_WINDOW_S, _HOP_S = 0.032, 0.004  # of the spectra that onsets are found in
_BANDS = 24  # a mel apart, 100 Hz to 6 kHz
_SMOOTH_S = 0.008  # standard deviation of the smoothing of loudness over time
_SILENCE = 1e-3  # root mean square, -60 dBFS
_RISE = 0.2  # of loudness within +-32 ms, relative to its maximum in the clip, that is an onset
_REACH_S = 0.032  # shorter ones mistake the roughness of Griffin-Lim for onsets
_APART_S = 0.07  # of two onsets
_EARLY_S = 0.007  # window, smoothing and square root bring the middle of a rise forward by so much
_NOTE_S = 0.064  # of the spectrum that the pitch is read from
_SEMITONES = 2.5  # half of a fourth: farther from every pitch of the world is no pitch


@dataclass(frozen=True)
class Heard:
    """What a listener would say. `colour` is the one whose pitch it is, `shape` the one whose timbre it is."""

    frequency_hz: float | None
    colour: str | None
    shape: str | None
    pan: float | None  # -1 left .. 1 right
    events_s: np.ndarray


def hear(audio: np.ndarray, sample_rate: int) -> Heard:
    """Samples (samples, channels) in [-1, 1]."""
    mono = audio.mean(1)
    is_sound = len(mono) >= 2 * _NOTE_S * sample_rate and np.isfinite(mono).all()
    if not is_sound or np.sqrt(np.square(mono).mean()) < _SILENCE:
        return Heard(None, None, None, None, np.empty(0))
    events = onsets(mono, sample_rate)
    notes = _notes(mono, events, sample_rate)
    frequency = _pitch(notes, sample_rate)
    steps = 12 * np.abs(np.log2(frequency / np.array(FREQUENCIES_HZ)))
    colour = COLOURS[int(steps.argmin())] if steps.min() <= _SEMITONES else None
    pan = _pan(audio) if audio.shape[1] == 2 else None
    return Heard(frequency, colour, _timbre(notes, frequency, sample_rate), pan, events)


def onsets(mono: np.ndarray, sample_rate: int) -> np.ndarray:
    """Times in seconds at which the sound (samples,) gets suddenly louder: the middles of the steepest rises.

    Loudness is the sum over mel bands of the square root of their magnitude: a soft note counts beside a loud one.
    """
    window, hop = int(_WINDOW_S * sample_rate), int(_HOP_S * sample_rate)
    reach, apart = round(_REACH_S / _HOP_S), round(_APART_S / _HOP_S)
    # Windows lie within the clip, and its ends go on as loud as they are: silence there would be a click and a rise.
    spectra = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(mono, window)[::hop] * np.hanning(window)))
    loudness = gaussian_filter1d(np.sqrt(spectra @ _mel(window, sample_rate)).sum(1), _SMOOTH_S / _HOP_S)
    loudness = np.pad(loudness, reach, mode="edge")
    rise = (loudness[2 * reach :] - loudness[: -2 * reach]) / max(loudness.max(), 1e-9)
    found = [k for k in np.flatnonzero(rise > _RISE) if rise[k] >= rise[max(0, k - apart) : k + apart + 1].max()]
    times = [_middle(loudness[k : k + 2 * reach + 1]) + k - reach for k in found]
    return (np.array(times) * hop + window / 2) / sample_rate + _EARLY_S


def _middle(rise: np.ndarray) -> float:
    """Where a rising stretch first passes the middle between its ends, in steps from its start."""
    level = (rise[0] + rise[-1]) / 2
    k = int(np.argmax(rise >= level))
    return k - 1 + float((level - rise[k - 1]) / (rise[k] - rise[k - 1])) if k else 0.0


def _mel(window: int, sample_rate: int) -> np.ndarray:
    """Triangles evenly spaced in mel = 2595 log10(1 + f / 700): (window // 2 + 1, bands)."""
    top = min(6_000.0, sample_rate / 2)
    lowest, highest = 2595 * np.log10(1 + np.array([100, top]) / 700)
    edges = 700 * (10 ** (np.linspace(lowest, highest, _BANDS + 2) / 2595) - 1)
    f = np.fft.rfftfreq(window, 1 / sample_rate)[:, None]
    low, mid, high = edges[:-2], edges[1:-1], edges[2:]
    return np.minimum((f - low) / (mid - low), (high - f) / (high - mid)).clip(0)


def _notes(mono: np.ndarray, events: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean magnitude at 1 Hz steps of the stretches that follow the onsets; of the loudest stretch if there is none."""
    size = int(_NOTE_S * sample_rate)
    starts = [int((time + 0.01) * sample_rate) for time in events.tolist()]
    starts = [start for start in starts if start + size <= len(mono)]
    if not starts:
        energy = np.convolve(mono**2, np.ones(size), mode="valid")
        starts = [int(energy.argmax())]
    stretches = np.stack([mono[start : start + size] for start in starts]) * np.hanning(size)
    return np.abs(np.fft.rfft(stretches, sample_rate)).mean(0)


def _pitch(notes: np.ndarray, sample_rate: int) -> float:
    """The strongest frequency of the world's range and a fourth around it: no timbre has a stronger overtone."""
    low, high = int(FREQUENCIES_HZ[0] * 3 / 4), min(int(FREQUENCIES_HZ[-1] * 4 / 3), sample_rate // 2)
    return float(low + notes[low:high].argmax())


def _timbre(notes: np.ndarray, frequency: float, sample_rate: int) -> str:
    """A second partial makes it the triangle's, a third alone the square's, none the disc's."""

    def partial(number: int) -> float:
        middle = int(number * frequency)
        return float(notes[max(0, middle - 20) : middle + 21].max(initial=0))  # 20 Hz: less than a window resolves

    first = partial(1)
    if partial(2) > 0.25 * first:
        return "triangle"
    return "square" if partial(3) > 0.2 * first else "disc"


def _pan(audio: np.ndarray) -> float:
    """The angle of constant-power panning, tan(angle) = right / left, over the samples that are not background."""
    level = np.abs(audio).max(1)
    left, right = np.sqrt(np.square(audio[level > 0.2 * level.max()]).sum(0))
    return float(np.arctan2(right, left) * 4 / np.pi - 1)
