"""What is to be heard in a clip of the small world, read from its samples: pitch, timbre, place, and when it sounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avctl.media.synthetic.world import COLOURS, FREQUENCIES_HZ
from avctl.metrics.onsets import onsets

_SILENCE = 1e-3  # root mean square, -60 dBFS
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
