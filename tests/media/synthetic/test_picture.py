"""The picture shows the scene where and as bright as the scene says."""

from __future__ import annotations

import numpy as np
import pytest

from avctl.media.synthetic.picture import picture
from avctl.media.synthetic.world import draw
from avctl.schema import Synthetic

SPEC = Synthetic(count=100, seed=1)
WORLDS = [draw(index, SPEC) for index in range(60)]


def saturation(frames: np.ndarray) -> np.ndarray:
    """Highest less lowest channel, (T, H, W) in [0, 1]: grey things vanish."""
    spread = frames.max(-1).astype(float) - frames.min(-1)
    return (spread / 255 - 0.05).clip(0)


@pytest.mark.parametrize(("size", "fps"), [((64, 64), 16), ((32, 32), 16), ((96, 96), 24), ((48, 80), 25)])
def test_the_coloured_mass_is_where_the_object_is(size: tuple[int, int], fps: int) -> None:
    spec = Synthetic(count=1, seed=1, size=size, fps=fps)
    for index in range(8):
        world = draw(index, spec)
        if world.shape == "triangle":  # its centre of mass is not its centre
            continue
        frames = picture(world, size, fps)
        assert frames.shape == (2 * fps, *size, 3) and frames.dtype == np.uint8
        mass = saturation(frames)
        total = mass.sum((1, 2))
        x, y = world.centre(np.arange(2 * fps) / fps)
        seen_x = (mass.sum(1) @ (np.arange(size[1]) + 0.5)) / total / size[0]
        seen_y = (mass.sum(2) @ (np.arange(size[0]) + 0.5)) / total / size[0]
        whole = y > world.radius  # not cut off by the upper edge
        assert np.abs(seen_x - x)[whole].max() < 0.03 and np.abs(seen_y - y)[whole].max() < 0.03


def test_the_area_follows_shape_and_size() -> None:
    share = {"disc": np.pi, "square": 3.24, "triangle": 2.0}  # of radius^2
    for world in WORLDS:
        if world.family == "blink" and world.material == "wood":
            frames = picture(world, (128, 128), 16)
            seen = (saturation(frames[frames.max((1, 2, 3)).argmax()][None]) > 0.3).sum() / 128**2
            assert abs(seen / (share[world.shape] * world.radius**2) - 1) < 0.06


def test_metal_shines_and_wood_does_not() -> None:
    for world in WORLDS:
        if world.family == "bounce":
            frames = picture(world, (64, 64), 16)
            assert (frames.min(-1) > 120).any() == (world.material == "metal")


def test_edges_are_soft() -> None:
    world = next(world for world in WORLDS if world.family == "bounce" and world.shape == "disc")
    levels = np.unique(saturation(picture(world, (64, 64), 16)).round(2))
    assert len(levels) > 20


def test_equal_scenes_give_equal_frames() -> None:
    assert (picture(WORLDS[0], (64, 64), 16) == picture(draw(0, SPEC), (64, 64), 16)).all()
