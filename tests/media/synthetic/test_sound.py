"""The sound says what the picture shows: pitch, timbre, loudness, decay, place, and the instant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avctl.media.synthetic.sound import sound
from avctl.media.synthetic.world import World, draw
from avctl.schema import Synthetic

SPEC = Synthetic(count=100, seed=1)
WORLDS = [draw(index, SPEC) for index in range(60)]
RATE = 16_000


def hear(world: World, rate: int = RATE) -> np.ndarray:
    return sound(world, rate, np.random.default_rng(0))


def peak_hz(audio: np.ndarray, rate: int = RATE) -> float:
    spectrum = np.abs(np.fft.rfft(audio.sum(1) * np.hanning(len(audio)), 4 * rate))
    return float(spectrum.argmax() / 4)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_the_strongest_tone_is_the_pitch_of_the_colour(rate: int) -> None:
    for world in WORLDS[:12]:
        audio = hear(world, rate)
        assert audio.shape == (2 * rate, 2) and audio.dtype == np.float32
        assert abs(12 * np.log2(peak_hz(audio, rate) / world.frequency_hz)) < 0.5


def test_each_event_begins_at_its_time() -> None:
    for world in WORLDS[:40]:
        audio = np.abs(hear(world)).max(1)
        for time, kind in world.events:
            before, after = (
                audio[int((time + lag) * RATE) :][: int(0.02 * RATE)].max(initial=0) for lag in (-0.03, 0.004)
            )
            if kind != "wall" and time < world.seconds - 0.03:
                assert after > 1.5 * before + 0.02


def test_a_note_does_not_cut_off_the_one_before() -> None:
    world = next(w for w in WORLDS if w.family == "strike" and w.material == "metal")

    def only(chosen: slice) -> World:
        return replace(world, beats_s=world.beats_s[chosen], periods_s=world.periods_s[chosen])

    hiss = hear(only(slice(0, 0)))
    notes = sum(hear(only(slice(i, i + 1))) - hiss for i in range(len(world.beats_s)))
    assert np.allclose(hear(world) - hiss, notes, atol=1e-5)


def test_silence_but_for_the_hiss_before_a_sharp_note() -> None:
    world = next(w for w in WORLDS if w.family == "blink" and w.material == "wood")
    dark = hear(world)[: int(RATE * (world.beats_s[1] - 0.01))][-200:]
    assert np.abs(dark).max() < 0.01


def test_shapes_differ_in_their_harmonics() -> None:
    def partial(shape: str, number: int) -> float:
        world = replace(WORLDS[0], shape=shape, colour="green", family="strike", size="large")
        audio = hear(world).sum(1)
        spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 4 * RATE))
        at = [round(4 * n * world.frequency_hz) for n in (1, number)]
        return float(spectrum[at[1] - 4 : at[1] + 5].max() / spectrum[at[0] - 4 : at[0] + 5].max())

    assert partial("disc", 2) < 0.05 and partial("disc", 3) < 0.05
    assert partial("square", 2) < 0.05 and partial("square", 3) > 0.4
    assert partial("triangle", 2) > 0.5 and partial("triangle", 3) > 0.3


@pytest.mark.parametrize("family", ["bounce", "strike", "blink"])
def test_large_is_louder_and_metal_rings_longer(family: str) -> None:
    base = next(world for world in WORLDS if world.family == family)
    small, large = (hear(replace(base, size=size)) for size in ("small", "large"))
    assert 1.5 < np.abs(large).max() / np.abs(small).max() < 2.3
    wood, metal = (hear(replace(base, material=material)) for material in ("wood", "metal"))
    assert np.square(metal).sum() > 1.05 * np.square(wood).sum()


def test_pan_keeps_the_power() -> None:
    powers = []
    for place in ("left", "centre", "right"):
        audio = hear(replace(WORLDS[0], place=place))
        left, right = np.square(audio).sum(0)
        powers.append(left + right)
        assert (left > 2 * right, abs(left / right - 1) < 1e-3, right > 2 * left) == (
            place == "left",
            place == "centre",
            place == "right",
        )
    assert np.allclose(powers, powers[0], rtol=1e-3)


def test_nothing_clips() -> None:
    assert max(np.abs(hear(world)).max() for world in WORLDS) < 0.95
