"""The picture of a scene: a bright object on a dark ground, edges antialiased by their signed distance."""

from __future__ import annotations

import numpy as np

from avctl.media.synthetic.world import FLOOR, HALF_HEIGHT, World

PALETTE = {
    "red": (1.0, 0.1, 0.1),
    "green": (0.1, 0.9, 0.1),
    "blue": (0.15, 0.25, 1.0),
    "yellow": (1.0, 0.9, 0.1),
    "cyan": (0.1, 0.9, 0.9),
    "magenta": (1.0, 0.1, 0.9),
}
_TINTS = {
    "slate": (0.06, 0.07, 0.10),
    "plum": (0.09, 0.06, 0.09),
    "moss": (0.06, 0.09, 0.07),
    "ash": (0.08, 0.08, 0.08),
}
_FLOOR_LIGHT = 0.14  # the floor is so much lighter than the wall
_SHINE = 0.55  # how far the highlight of metal goes to white: the mallet (0.9) stays the whitest thing
_MALLET, _HANDLE = (0.14, 0.045), 0.015  # half sizes of its head, half width of its handle


def picture(world: World, size: tuple[int, int], fps: int) -> np.ndarray:
    """Frames (T, H, W, 3) uint8; frame k shows the time k / fps."""
    height, width = size
    t = np.arange(round(world.seconds * fps)) / fps
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[None, :, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / height)[None, None, :]
    centre_x, centre_y = (value.astype(np.float32)[:, None, None] for value in world.centre(t))
    dx, dy = x - centre_x, y - centre_y  # T 1 W, T H 1

    frames = np.repeat(_background(world, y[0], width)[None], len(t), axis=0)
    colour = np.asarray(PALETTE[world.colour]) * world.brightness(t)[:, None]  # T 3
    _blend(frames, _coverage(_inside(world.shape, dx, dy, world.radius), height), colour)
    if world.material == "metal":
        _blend(frames, _SHINE * _coverage(_highlight(world, dx, dy), height), world.brightness(t)[:, None].repeat(3, 1))
    if world.family == "strike":
        gap = HALF_HEIGHT[world.shape] * world.radius + _MALLET[1]
        dy = dy + gap + world.mallet(t).astype(np.float32)[:, None, None]
        _blend(frames, _coverage(np.minimum(_HANDLE - np.abs(dx), -dy), height), np.full((1, 3), 0.45))
        head = np.minimum(_MALLET[0] - np.abs(dx), _MALLET[1] - np.abs(dy))
        _blend(frames, _coverage(head, height), np.full((1, 3), 0.9))
    return (frames * 255 + 0.5).astype(np.uint8)


def _background(world: World, y: np.ndarray, width: int) -> np.ndarray:
    """Wall and floor, (H, W, 3) in [0, 1]; y (H, 1) in frame heights."""
    floor = _coverage(y - FLOOR, len(y))  # H 1
    ground = np.asarray(_TINTS[world.background]) + _FLOOR_LIGHT * floor  # H 3
    return np.repeat(ground[:, None].astype(np.float32), width, axis=1)


def _inside(shape: str, dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    """Distance to the edge, positive inside: dx (T, 1, W), dy (T, H, 1) -> (T, H, W)."""
    match shape:
        case "disc":
            return radius - np.sqrt(dx * dx + dy * dy)
        case "square":
            return 0.9 * radius - np.maximum(np.abs(dx), np.abs(dy))
        case _:  # an upright triangle, as high as wide: its sides rise 2 for 1, hence 1 / sqrt(5) and 2 / sqrt(5)
            return np.minimum(radius - dy, 0.4472 * (dy + radius) - 0.8944 * np.abs(dx))


def _highlight(world: World, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Distance to the edge of the spot that metal reflects."""
    right, down = (-0.1, 0.3) if world.shape == "triangle" else (-0.3, -0.3)  # radii: within each shape
    r = world.radius
    return _inside("disc", dx - right * r, dy - down * r, 0.3 * r)


def _coverage(distance: np.ndarray, height: int) -> np.ndarray:
    """Share of each pixel that is inside, from its signed distance in frame heights."""
    return np.clip(distance * np.float32(height) + np.float32(0.5), 0, 1)


def _blend(frames: np.ndarray, share: np.ndarray, colour: np.ndarray) -> None:
    """frames (T, H, W, 3) go towards colour (T or 1, 3) by share (T, H, W), in place, in the window that it touches."""
    rows, columns = (np.flatnonzero(share.any(axis)) for axis in ((0, 2), (0, 1)))
    if len(rows):
        window = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        part = frames[window]
        part += share[window][..., None] * (colour.astype(np.float32)[:, None, None] - part)
