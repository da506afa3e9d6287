"""The reader of pictures is right on true renders, fair to bad ones, and silent where there is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from avctl.media.synthetic import render
from avctl.metrics.seen import see
from avctl.schema import Synthetic


def shares(examples: list[Any], frames: list[np.ndarray]) -> tuple[float, ...]:
    """Of clips whose colour, family and shape are read right."""
    read = [see(pixels, 16) for pixels in frames]
    names = ("colour", "family", "shape")
    pairs = list(zip(read, examples, strict=True))
    return tuple(float(np.mean([getattr(seen, name) == e.truth[name] for seen, e in pairs])) for name in names)


def distances(found: np.ndarray, true: np.ndarray) -> list[float]:
    """From each true event away from the clip's ends to the nearest found one; 0.5 s where nothing is found."""
    inner = true[(true > 0.06) & (true < 1.9)]
    return [float(np.abs(found - time).min(initial=0.5)) for time in inner]


def degraded(examples: list[Any]) -> list[np.ndarray]:
    """Blurred by most of a pixel and a third of a frame, with noise of 10 levels."""
    rng = np.random.default_rng(0)
    blurred = [gaussian_filter(example.frames.astype(float), (0.3, 0.8, 0.8, 0)) for example in examples]
    return [(frames + 10 * rng.normal(size=frames.shape)).clip(0, 255).astype(np.uint8) for frames in blurred]


def test_true_clips_are_read_right(examples: list[Any]) -> None:
    colour, family, shape = shares(examples, [example.frames for example in examples])
    assert colour >= 0.99 and family >= 0.99 and shape >= 0.97


def test_blur_and_noise_cost_little(examples: list[Any]) -> None:
    colour, family, shape = shares(examples, degraded(examples))
    assert colour >= 0.97 and family >= 0.97 and shape >= 0.9


def test_every_event_is_seen_and_little_else(examples: list[Any]) -> None:
    for frames in ([example.frames for example in examples], degraded(examples)):
        missed, invented = [], []
        for pixels, example in zip(frames, examples, strict=True):
            seen, true = see(pixels, 16).events_s, np.array(example.truth["events_s"])
            missed += distances(seen, true)
            invented += distances(true, seen)
        assert np.median(missed) < 0.012  # a fifth of a frame
        assert np.mean(np.array(missed) < 0.0625) > 0.96 and np.mean(np.array(invented) < 0.0625) > 0.96


@pytest.mark.parametrize(("size", "fps"), [((64, 64), 16), ((96, 96), 24), ((64, 96), 25)])
def test_size_and_rate_do_not_matter(size: tuple[int, int], fps: int) -> None:
    spec = Synthetic(count=24, seed=9, size=size, fps=fps)
    missed: list[float] = []
    for index in range(spec.count):
        scene = render(index, spec)
        seen = see(scene.frames, fps)
        assert (seen.colour, seen.shape, seen.family) == tuple(scene.truth[n] for n in ("colour", "shape", "family"))
        missed += distances(seen.events_s, np.array(scene.truth["events_s"]))
    assert np.median(missed) < 0.015 and np.mean(np.array(missed) < 0.0625) > 0.95


def struck(mallet_y: np.ndarray, light: np.ndarray) -> np.ndarray:
    """A blue square at the floor, as bright as `light` (T,), below a mallet whose lower edge is at `mallet_y` (T,)."""
    frames = np.full((len(light), 32, 32, 3), 20, np.uint8)
    for frame, y, level in zip(frames, mallet_y.round().astype(int), light, strict=True):
        frame[18:27, 12:21] = (30 * level, 50 * level, 255 * level)
        frame[max(0, y - 3) : y, 11:22] = 230
    return frames


def test_a_mallet_that_comes_down_is_a_strike_and_so_is_a_flash_but_not_both_twice() -> None:
    t = np.arange(32)
    swing = 18 - 9 * np.abs(np.sin(np.pi * (t - 6) / 10))  # down at frames 6, 16, 26
    flash = np.where((t - 6) % 10 < 2, 1.0, 0.4)
    for mallet, light in ((swing, flash), (swing, np.full(32, 0.6)), (np.full(32, 9.0), flash)):
        seen = see(struck(mallet, light), 16)
        assert seen.family == "strike" and np.allclose(seen.events_s, np.array([6, 16, 26]) / 16, atol=0.04)


def test_a_mallet_that_turns_in_mid_air_strikes_nothing() -> None:
    t = np.arange(32)
    swing = 18 - 9 * np.abs(np.sin(np.pi * (t - 6) / 10)) - np.where((t > 11) & (t < 21), 5, 0)
    assert np.allclose(see(struck(swing, np.full(32, 0.6)), 16).events_s, np.array([6, 26]) / 16, atol=0.04)


def test_walls_are_seen() -> None:
    spec = Synthetic(count=200, seed=2)
    found = total = 0
    for index in range(spec.count):
        scene = render(index, spec)
        for time, kind in zip(scene.truth["events_s"], scene.truth["event_kinds"], strict=True):
            if kind == "wall" and 0.3 < time < 1.7:
                total += 1
                found += np.abs(see(scene.frames, 16).events_s - time).min(initial=1) < 0.0625
    assert total >= 10 and found / total > 0.8


@pytest.mark.parametrize("level", [0, 30, 128, 255])
@pytest.mark.parametrize("shape", [(32, 32, 32, 3), (1, 32, 32, 3), (3, 16, 20, 3)])
def test_nothing_is_seen_where_there_is_nothing(level: int, shape: tuple[int, ...]) -> None:
    seen = see(np.full(shape, level, np.uint8), 16)
    assert (seen.colour, seen.shape, seen.family, len(seen.events_s)) == (None, None, None, 0)


def test_a_thing_that_stays_has_no_family() -> None:
    frames = np.full((32, 32, 32, 3), 20, np.uint8)
    frames[:, 10:20, 10:20] = (250, 30, 30)
    seen = see(frames, 16)
    assert (seen.colour, seen.shape, seen.family, len(seen.events_s)) == ("red", "square", None, 0)


@pytest.mark.parametrize("shape", [(32, 32, 32, 3), (1, 32, 32, 3), (2, 8, 8, 3), (5, 16, 48, 3)])
def test_noise_breaks_nothing(shape: tuple[int, ...]) -> None:
    for seed in range(4):
        frames = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
        seen = see(frames, 16)
        assert np.isfinite(seen.events_s).all() and (np.diff(seen.events_s) >= 0).all()
