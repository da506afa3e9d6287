"""Where in a long file to look for clips, from its keyframes alone.

A file that holds many more clips than are taken from it is not decoded whole: it is divided into as many parts as clips
are wanted, and in each part the stretches that begin with a keyframe are tried, the most promising first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise, zip_longest

import av
import cv2
import numpy as np

from avctl.curate.shots import SHARPNESS_LINES, Colour, Pictures, laplacian_variance
from avctl.media.fit import Luma
from avctl.media.scan import begin

TRIES = 3  # stretches of one part, before it is given up
CHANGE = 24.0  # mean difference of two thumbnails, 0..255, from which they are probably two scenes
FLAT = 6.0  # standard deviation of a thumbnail below which there is nothing to see: black, or one colour
_THUMBNAIL = (16, 9)  # width, height


@dataclass(frozen=True)
class Keyframe:
    """What is remembered of one."""

    time_s: float
    thumbnail: np.ndarray  # (9, 16, 3) uint8
    sharpness: float  # variance of the Laplacian of luma


def glance(keyframes: Iterator[av.VideoFrame]) -> list[Keyframe]:
    """Keyframes as they are decoded, reduced to what `propose` needs."""
    colour, luma = Colour(), Luma(SHARPNESS_LINES)
    found = []
    for frame in keyframes:
        thumbnail = cv2.resize(colour(frame, (36, 64)), _THUMBNAIL, interpolation=cv2.INTER_AREA)
        found.append(Keyframe(begin(frame), thumbnail, laplacian_variance(luma(frame))))
    return found


def guessed(times_s: Sequence[float], keyframes: Sequence[Keyframe]) -> Pictures:
    """A file as one shot, every frame as sharp as the keyframe before it. `times_s` are of all frames."""
    times = np.array(times_s)
    last = np.searchsorted([key.time_s for key in keyframes], times + 1e-6) - 1
    sharpness = np.array([key.sharpness for key in keyframes])[np.maximum(last, 0)]
    return Pictures(times, sharpness, np.array([[0, len(times)]]), None)


def among(keyframes: Sequence[Keyframe], pictures: Pictures) -> Pictures:
    """A stretch of a file with what keyframes tell of the rest: a shot begins where one differs from that before it."""
    if pictures.cuts_s is None or not len(pictures.times):
        return pictures
    changed = [key.time_s for last, key in pairwise(keyframes) if _difference(last, key) >= CHANGE]
    begin, end = pictures.times[[0, -1]]
    return replace(pictures, cuts_s=np.array([*pictures.cuts_s, *(at for at in changed if not begin <= at <= end)]))


def propose(
    keyframes: Sequence[Keyframe], span: tuple[float, float], length_s: float, most: int
) -> Iterator[tuple[float, float]]:
    """Stretches (begin, end) of `length_s` inside `span`, apart from each other: first one of each of `most` parts of
    the span, then for those who still need some a second of each, and a third."""
    begin, end = span
    parts = []
    for k in range(most):
        low, high = (begin + (end - begin) * share / most for share in (k, k + 1))
        inside = [key for key in keyframes if low <= key.time_s < high and key.time_s + length_s <= end]
        ranked = sorted(inside, key=lambda key: _promise(key, keyframes, length_s), reverse=True)
        parts.append([key.time_s for key in ranked[:TRIES]] or [min(low, end - length_s)])
    taken: list[float] = []
    for start in chain.from_iterable(zip_longest(*parts)):
        if start is not None and start >= begin and all(abs(start - other) >= length_s for other in taken):
            taken.append(start)
            yield start, start + length_s


def _promise(key: Keyframe, keyframes: Sequence[Keyframe], length_s: float) -> tuple[bool, bool, float]:
    """Better is greater: something to see, no change of scene on the way, sharp."""
    inside = [other for other in keyframes if key.time_s <= other.time_s < key.time_s + length_s]
    is_one_scene = all(_difference(one, other) < CHANGE for one, other in pairwise(inside))
    return bool(key.thumbnail.std() > FLAT), is_one_scene, key.sharpness


def _difference(one: Keyframe, other: Keyframe) -> float:
    """Mean, 0..255."""
    return float(np.abs(np.subtract(one.thumbnail, other.thumbnail, dtype=np.int16)).mean())
