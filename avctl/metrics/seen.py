"""What is to be seen in a clip of the small world, read from its pixels: colour, shape, family, and when it happens.

The reading knows the world's rules (one saturated object, a dark ground, a white mallet) but no rendering detail, so
that it is as fair to a blurred or noisy clip as to a true one. What cannot be read is None, and counts as wrong.
Lengths are in frame heights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from avctl.media.synthetic.picture import PALETTE
from avctl.media.synthetic.world import SHAPES
from avctl.metrics.onsets import APART_S

_GREY = 0.08  # saturation that a tinted ground or compression may have
_NOTHING = 0.2  # peak saturation below which there is no object
_WHITE = 0.004  # mean share of the frame's height squared that a mallet covers at least; it covers 0.025
_HOP, _BLINK = 0.0375, 0.5  # spread of the height, and loss of light, at which motion and blinking are plain
_RISE = 0.2  # of brightness relative to its maximum, in one frame, that is an event
_FALL, _SWING = 0.03, 0.1  # heights that an object and a mallet come down from at least, within three frames
_KINK = 0.2  # change of horizontal speed, 1/s, that is a wall


@dataclass(frozen=True)
class Seen:
    """What a viewer would say. `events_s` is in order of time."""

    colour: str | None
    shape: str | None
    family: str | None
    events_s: np.ndarray


def see(frames: np.ndarray, fps: float) -> Seen:
    """Frames (T, H, W, 3) uint8, of at least 8 pixels each way."""
    rgb = frames.astype(np.float32) / 255
    saturation = (rgb.max(-1) - rgb.min(-1) - _GREY).clip(0)  # T H W
    if not len(frames) or np.quantile(saturation.reshape(len(rgb), -1).max(1), 0.9) < _NOTHING:
        return Seen(None, None, None, np.empty(0))
    mass = saturation.sum((1, 2))  # T
    x, y = _centroid((saturation - 0.25 * np.quantile(saturation, 0.999)).clip(0))
    white = ((rgb.min(-1) > 0.5) & (saturation < 0.17)).astype(np.float32)
    mallet_y = _centroid(white)[1]
    family = _family(mass, y, float(white.mean() * frames.shape[2] / frames.shape[1]))
    match family:
        case "bounce":
            events = np.concatenate([_floors(y, _FALL), _walls(x, fps, frames.shape[2] / frames.shape[1])])
        case "strike":
            events = _strikes(saturation, mallet_y)
        case "blink":
            events = _rises(mass / mass.max())
        case _:
            events = np.empty(0)
    # The outline is free where the upper edge does not cut it off, and the mallet is not at it.
    free = y - mallet_y >= np.median(y - mallet_y) if family == "strike" else y > 0.25
    shape = _shape(saturation, np.where(free, mass, 0), x, y)
    return Seen(_colour(rgb, saturation), shape, family, _apart(np.sort(events) / fps))


def _apart(times_s: np.ndarray) -> np.ndarray:
    """Sorted times without those that follow another so closely that they are one event, to the ear as well."""
    kept: list[float] = []
    for time in times_s.tolist():
        if not kept or time - kept[-1] >= APART_S:
            kept.append(time)
    return np.array(kept)


def _centroid(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight (T, H, W) -> x, y (T,) of its centre; where a frame has none, those of the nearest frame that has."""
    height, width = weight.shape[1:]
    total = weight.sum((1, 2))
    has = np.flatnonzero(total > 1e-3 * max(total.max(), 1e-3))
    if not len(has):
        return np.full(len(weight), 0.5 * width / height), np.full(len(weight), 0.5)
    x = (weight.sum(1) @ (np.arange(width) + 0.5))[has] / total[has] / height
    y = (weight.sum(2) @ (np.arange(height) + 0.5))[has] / total[has] / height
    frame = np.arange(len(weight))
    return np.interp(frame, has, x), np.interp(frame, has, y)


def _colour(rgb: np.ndarray, saturation: np.ndarray) -> str:
    """The palette's direction nearest to the mean colour, weighted by the square of the saturation."""
    mean = np.einsum("thwc,thw->c", rgb, saturation**2)
    palette = np.array(list(PALETTE.values()))
    return list(PALETTE)[int((palette @ mean / np.linalg.norm(palette, axis=1)).argmax())]


def _family(mass: np.ndarray, y: np.ndarray, white: float) -> str | None:
    """A mallet is seen, or the object moves up and down, or its light comes and goes, or nothing happens at all."""
    if white > _WHITE:
        return "strike"
    low, high = np.quantile(mass, (0.1, 0.9))
    hops, blinks = float(np.std(y)) / _HOP, (1 - low / max(high, 1e-6)) / _BLINK
    if max(hops, blinks) < 0.7:
        return None
    return "bounce" if hops > blinks else "blink"


def _shape(saturation: np.ndarray, mass: np.ndarray, x: np.ndarray, y: np.ndarray) -> str:
    """The eight heaviest frames, laid over each other by their centroid, against the outline of equal area."""
    vivid = np.quantile(saturation, 0.98, axis=(1, 2))  # T: of the object, which fills at least 4 % of a square frame
    best = np.argsort(mass, kind="stable")[-8:]
    grid = np.linspace(-0.28, 0.28, 57)
    down, right = np.meshgrid(grid, grid, indexing="ij")
    size = saturation.shape[1]
    overlay = np.zeros_like(down)
    for frame in best:
        # Full at half of the object's saturation: a highlight belongs to the object, and a mallet does not.
        opaque = (saturation[frame] / max(vivid[frame], 0.05) / 0.35 - 0.4).clip(0, 1)
        where = [(y[frame] + down) * size - 0.5, (x[frame] + right) * size - 0.5]
        overlay += map_coordinates(opaque, where, order=1, mode="nearest") / len(best)
    area = overlay.sum() * (grid[1] - grid[0]) ** 2
    scores = [
        np.corrcoef(overlay.ravel(), _outline(shape, right, down, area, 1 / size).ravel())[0, 1] for shape in SHAPES
    ]
    return SHAPES[int(np.nan_to_num(scores).argmax())]


def _outline(shape: str, dx: np.ndarray, dy: np.ndarray, area: float, softness: float) -> np.ndarray:
    """A shape of this area about its centroid, edges `softness` wide, values in [0, 1]."""
    match shape:
        case "disc":
            distance = np.sqrt(area / np.pi) - np.hypot(dx, dy)
        case "square":
            distance = np.sqrt(area) / 2 - np.maximum(abs(dx), abs(dy))
        case _:  # as wide as high; the centroid is a third above the base
            side = np.sqrt(2 * area)
            distance = np.minimum(side / 3 - dy, 0.4472 * (dy + side * 2 / 3) - 0.8944 * abs(dx))
    return (distance / softness + 0.5).clip(0, 1)


def _floors(y: np.ndarray, depth: float) -> np.ndarray:
    """Times (in frames) at which a thing that comes down by `depth` is lowest and turns sharply."""
    low = [k for k in range(1, len(y) - 1) if y[k] >= y[k - 1] and y[k] > y[k + 1] and _is_turn(y, k, depth)]
    return np.array([_cusp(y, k) for k in low])


def _is_turn(y: np.ndarray, k: int, depth: float) -> bool:
    around = y[max(0, k - 3) : k + 4]
    return y[k] >= around.max() - 1e-6 and y[k] - around.min() > depth


def _cusp(y: np.ndarray, k: int) -> float:
    """Where the line through the two samples before k meets the line through the two after it."""
    if k < 2 or k > len(y) - 3:
        return float(k)
    before, after = y[k - 1] - y[k - 2], y[k + 2] - y[k + 1]
    bend = before - after
    if bend < 1e-3:
        return float(k)
    return float(np.clip(((y[k + 1] - after * (k + 1)) - (y[k - 1] - before * (k - 1))) / bend, k - 1, k + 1))


def _rises(light: np.ndarray) -> np.ndarray:
    """Times (in frames) between the dark frame and the bright one."""
    step = np.diff(light)
    return np.array(
        [k + 0.5 for k in range(len(step)) if step[k] > _RISE and step[k] >= step[max(0, k - 2) : k + 3].max()]
    )


def _strikes(saturation: np.ndarray, mallet_y: np.ndarray) -> np.ndarray:
    """Turns of the mallet at its lowest, and flashes of the object that have no turn within two frames.

    A mallet that wavers, or turns in mid-air, strikes nothing.
    """
    peak = np.quantile(saturation, 0.99, axis=(1, 2))
    flashes, turns = _rises(peak / peak.max()), _floors(mallet_y, _SWING)
    turns = turns[np.interp(turns, np.arange(len(mallet_y)), mallet_y) > mallet_y.max() - _SWING]
    alone = [time for time in flashes if np.abs(turns - time).min(initial=3) > 2]
    return np.concatenate([turns, alone])


def _walls(x: np.ndarray, fps: float, width: float) -> np.ndarray:
    """Times (in frames) at which the object turns around beside a wall: two straight lines that meet there."""
    reach = max(3, round(fps * 0.3))
    bends = []
    for k in range(3, len(x) - 3):
        before, after = np.arange(max(0, k - reach), k + 1), np.arange(k, min(len(x), k + reach + 1))
        (v0, x0), (v1, x1) = np.polyfit(before, x[before], 1), np.polyfit(after, x[after], 1)
        outward = v0 if x[k] > width / 2 else -v0
        inward = -v1 if x[k] > width / 2 else v1
        is_beside = min(x[k], width - x[k]) < 0.28
        if is_beside and min(outward, inward) * fps > _KINK / 4 and (outward + inward) * fps > _KINK:
            bends.append((outward + inward, float(np.clip((x1 - x0) / (v0 - v1), k - 1, k + 1))))
    times: list[float] = []
    for _, time in sorted(bends, reverse=True):
        if all(abs(time - other) > reach for other in times):
            times.append(time)
    return np.array(times)
