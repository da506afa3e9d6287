"""The reader of sound is right on true renders, fair to what a codec makes of them, and silent in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from avctl.codecs.build import build_audio_codec
from avctl.metrics.heard import hear
from avctl.schema import Clip, LogMel

RATE = 16_000


def distances(found: np.ndarray, true: np.ndarray) -> list[float]:
    inner = true[(true > 0.06) & (true < 1.9)]
    return [float(np.abs(found - time).min(initial=0.5)) for time in inner]


def griffin_lim(examples: list[Any], noise: float) -> list[np.ndarray]:
    """What the log-mel codec gives back, with noise on its latents: the sound of a generator that is not quite sure."""
    clip = Clip(seconds=2.0, size=(32, 32), fps=16, sample_rate=RATE)
    codec = build_audio_codec(LogMel(), clip)
    audio = torch.tensor(np.stack([example.audio.T for example in examples]))
    with torch.no_grad():
        latents = codec.encode(audio)
        wobble = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
        return list(codec.decode(latents + noise * wobble, audio.shape[2]).numpy().transpose(0, 2, 1))


def test_true_clips_are_heard_right(examples: list[Any]) -> None:
    heard = [hear(example.audio, RATE) for example in examples]
    assert np.mean([h.colour == e.truth["colour"] for h, e in zip(heard, examples, strict=True)]) >= 0.99
    assert np.mean([h.shape == e.truth["shape"] for h, e in zip(heard, examples, strict=True)]) >= 0.97
    assert all(abs((h.pan or 0) - e.truth["pan"]) < 0.1 for h, e in zip(heard, examples, strict=True))


@pytest.mark.parametrize("noise", [None, 0.0, 0.1])
def test_every_event_is_heard_and_little_else(examples: list[Any], noise: float | None) -> None:
    some = examples[:24]
    sounds = [example.audio for example in some] if noise is None else griffin_lim(some, noise)
    missed, invented = [], []
    for audio, example in zip(sounds, some, strict=True):
        heard, true = hear(audio, RATE), np.array(example.truth["events_s"])
        assert heard.colour == example.truth["colour"]
        missed += distances(heard.events_s, true)
        invented += distances(true, heard.events_s)
    assert np.median(missed) < 0.006
    assert np.mean(np.array(missed) < 0.0625) > 0.95 and np.mean(np.array(invented) < 0.0625) > 0.95


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_the_rate_does_not_matter(rate: int) -> None:
    t = np.arange(2 * rate) / rate
    audio = (np.exp(-(t % 0.5) / 0.1) * np.sin(2 * np.pi * 466.16 * t))[:, None] * (1.0, 0.2)
    heard = hear(audio, rate)
    assert heard.colour == "blue" and heard.shape == "disc" and (heard.pan or 0) < -0.6
    assert np.abs(heard.events_s[:, None] - [0.5, 1.0, 1.5]).min(0).max() < 0.01


def test_one_channel_has_no_place() -> None:
    t = np.arange(RATE) / RATE
    assert hear(0.3 * np.sin(2 * np.pi * 262 * t)[:, None], RATE).pan is None


@pytest.mark.parametrize(
    "audio", [np.zeros((RATE, 2)), np.full((RATE, 1), np.nan), np.zeros((10, 2)), np.zeros((0, 1))]
)
def test_nothing_is_heard_in_nothing(audio: np.ndarray) -> None:
    heard = hear(audio, RATE)
    assert (heard.frequency_hz, heard.colour, heard.pan, len(heard.events_s)) == (None, None, None, 0)


def test_a_pitch_out_of_the_world_is_no_colour() -> None:
    t = np.arange(RATE) / RATE
    assert hear(0.3 * np.sin(2 * np.pi * 200 * t)[:, None], RATE).colour is None


def test_noise_breaks_nothing() -> None:
    for seed in range(4):
        heard = hear(np.random.default_rng(seed).normal(size=(RATE, 2)), RATE)
        assert np.isfinite(heard.events_s).all() and -1 <= (heard.pan or 0) <= 1
