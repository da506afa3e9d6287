"""Footage whose changes are known: scenes are random colours, as mist or tiles, that drift slowly."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

Scene = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def scene() -> Scene:
    return drifting


def drifting(seed: int, num_frames: int, size: tuple[int, int] = (54, 96), *, is_tiled: bool = False) -> np.ndarray:
    """(num_frames, *size, 3) uint8: another seed is another place, and tiles are another kind of place than mist."""
    generator = np.random.default_rng(seed)
    height, width = size
    coarse = generator.integers(0, 256, (7, 11, 3)).astype(np.uint8)
    interpolation = cv2.INTER_NEAREST if is_tiled else cv2.INTER_CUBIC
    ground = cv2.resize(coarse, (width + num_frames, height + 20), interpolation=interpolation)
    drift = generator.uniform(0, 0.5, 2)
    places = (drift * np.arange(num_frames)[:, None]).clip(0, (20, num_frames)).astype(int)
    return np.stack([ground[y : y + height, x : x + width] for y, x in places])
