"""Where in a long file to look for clips, from its keyframes alone.

A file that holds many more clips than are taken from it is not decoded whole: it is divided into as many parts as clips
are wanted, and in each part the stretches that begin with a keyframe are tried, the most promising first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise, zip_longest

import av
import cv2
import numpy as np

from avctl.curate.shots import SHARPNESS_LINES, Colour, Pictures, laplacian_variance
from avctl.media.fit import Luma
from avctl.media.pick import TICK
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
    last = np.searchsorted([key.time_s for key in keyframes], times + TICK) - 1
    sharpness = np.array([key.sharpness for key in keyframes])[np.maximum(last, 0)]
    return Pictures(times, sharpness, np.array([[0, len(times)]]), None)


def among(keyframes: Sequence[Keyframe], pictures: Pictures) -> Pictures:
    """A stretch of a file with what keyframes tell of the rest: a shot begins where one differs from that before it."""
    if pictures.cuts_s is None or not len(pictures.times):
        return pictures
    begin, end = pictures.times[[0, -1]]
    beyond = [at for at in _changes_s(keyframes) if not begin <= at <= end]
    return replace(pictures, cuts_s=np.array([*pictures.cuts_s, *beyond]))


def propose(
    keyframes: Sequence[Keyframe], span: tuple[float, float], length_s: float, most: int
) -> Iterator[tuple[float, float]]:
    """Stretches (begin, end) of `length_s` inside `span`, apart from each other: first one of each of `most` parts of
    the span, then for those who still need some a second of each, and a third."""
    begin, end = span
    changes_s = _changes_s(keyframes)
    parts = []
    for k in range(most):
        low, high = (begin + (end - begin) * share / most for share in (k, k + 1))
        inside = [key for key in keyframes if low <= key.time_s < high and key.time_s + length_s <= end]
        ranked = sorted(inside, key=lambda key: _promise(key, changes_s, length_s), reverse=True)
        parts.append([key.time_s for key in ranked[:TRIES]] or [min(low, end - length_s)])
    taken: list[float] = []
    for start in chain.from_iterable(zip_longest(*parts)):
        if start is not None and start >= begin and all(abs(start - other) >= length_s for other in taken):
            taken.append(start)
            yield start, start + length_s


def _changes_s(keyframes: Sequence[Keyframe]) -> list[float]:
    """When keyframes come that are not like those before them."""
    pairs = ((np.subtract(one.thumbnail, other.thumbnail, dtype=np.int16), other) for one, other in pairwise(keyframes))
    return [other.time_s for difference, other in pairs if np.abs(difference).mean() >= CHANGE]


def _promise(key: Keyframe, changes_s: Sequence[float], length_s: float) -> tuple[bool, bool, float]:
    """Better is greater: something to see, no change of scene on the way, sharp."""
    is_one_scene = bisect_right(changes_s, key.time_s) == bisect_left(changes_s, key.time_s + length_s)
    return bool(key.thumbnail.std() > FLAT), is_one_scene, key.sharpness
