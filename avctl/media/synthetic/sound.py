"""The sound of a scene: one note for each event, at its exact time, in constant-power stereo."""

from __future__ import annotations

import numpy as np

from avctl.media.synthetic.world import LIT, World

_HARMONICS = {
    "disc": ((1, 1.0),),
    "square": ((1, 1.0), (3, 0.5), (5, 0.25)),
    "triangle": ((1, 1.0), (2, 0.6), (3, 0.4), (4, 0.25)),
}
_LOUDNESS = {"small": 0.16, "large": 0.3}  # root mean square of a note at its loudest, times sqrt(2)
_DECAY_S = {"bounce": {"wood": 0.06, "metal": 0.12}, "strike": {"wood": 0.1, "metal": 0.2}}
_RELEASE_S = {"wood": 0.01, "metal": 0.06}  # of a blinking tone after the light is out
_ATTACK_S = 0.004
_THUMP, _THUMP_DECAY_S = {"wood": 0.5, "metal": 0.25}, 0.015  # noise of an impact, relative to the note
_WALL = 0.5  # loudness of a wall impact, relative to one on the floor
_HISS = 0.001  # the noise floor, -60 dBFS


def sound(world: World, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Samples (samples, 2) float32 in [-1, 1]; sample n is the time n / sample_rate."""
    count = round(world.seconds * sample_rate)
    noise = rng.standard_normal(count, dtype=np.float32)
    note = np.zeros(count, np.float32)  # how loud the tone is
    thump = np.zeros(count, np.float32)  # how loud the noise is
    for time, period, loudness in _notes(world):
        if world.family == "blink":
            _add(note, time, sample_rate, LIT * period, _RELEASE_S[world.material], loudness)
        else:
            _add(note, time, sample_rate, 0.0, _DECAY_S[world.family][world.material], loudness)
            _add(thump, time, sample_rate, 0.0, _THUMP_DECAY_S, loudness * _THUMP[world.material])
    mono = _LOUDNESS[world.size] * (note * _tone(world, count, sample_rate) + thump * noise) + _HISS * noise
    angle = (world.pan + 1) * np.pi / 4  # constant power: cos^2 + sin^2 = 1
    stereo = mono[:, None] * np.array([np.cos(angle), np.sin(angle)])
    return stereo.clip(-1, 1).astype(np.float32)


def _notes(world: World) -> list[tuple[float, float, float]]:
    """(seconds, period, loudness) of every note, including the one that began before the clip."""
    beats = zip(world.beats_s.tolist(), world.periods_s.tolist(), strict=True)
    return [(time, period, 1.0) for time, period in beats] + [(time, 1.0, _WALL) for time in world.walls_s.tolist()]


def _tone(world: World, count: int, sample_rate: int) -> np.ndarray:
    """The steady tone of colour (pitch) and shape (timbre), (count,), of the power of a sine."""
    partials = [(n, weight) for n, weight in _HARMONICS[world.shape] if n * world.frequency_hz < sample_rate / 2]
    turn = (2 * np.pi * world.frequency_hz / sample_rate) * np.arange(count)
    power = sum(weight**2 for _, weight in partials)
    return sum((weight * np.sin(n * turn) for n, weight in partials), np.zeros(count)) / np.sqrt(power)


def _add(envelope: np.ndarray, time: float, rate: int, hold_s: float, decay_s: float, loudness: float) -> None:
    """Add attack, hold and exponential decay from `time` on to envelope (samples,), in place, until -60 dB."""
    begin = max(0, int(np.ceil(time * rate)))
    end = min(len(envelope), int((time + hold_s + 7 * decay_s) * rate))
    if begin >= end:
        return
    since = (np.arange(begin, end) / rate - time).astype(np.float32)
    fall = np.exp(-np.maximum(since - hold_s, 0) / decay_s)
    envelope[begin:end] += loudness * np.minimum(since / _ATTACK_S, 1) * fall
