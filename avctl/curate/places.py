"""Where clips begin and how long they are: on sharp frames, inside shots, not overlapping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avctl.curate.shots import Pictures
from avctl.media.pick import TICK
from avctl.schema import Shots

_TOLERANCE_S = 1e-3  # by which a shot may be shorter than the clip: time stamps are rounded


@dataclass(frozen=True)
class Place:
    """A clip to be cut."""

    start_s: float
    seconds: float


def starts(
    pictures: Pictures, span: tuple[float, float], end_s: float, lengths_s: Sequence[float], shots: Shots
) -> list[Place]:
    """Places of clips on frames, inside shots, not overlapping, in order.

    `span` is the time in which there is sound; the picture ends at `end_s`. A shot is filled with the longest of
    `lengths_s` (longest first) that fit, one behind the other, each moved to the sharpest frame within
    `shots.sharpest_within_s` as far as the shot has time left over.
    """
    times = pictures.times
    found: list[Place] = []
    for first, behind in pictures.shots:
        at = np.searchsorted(times, max(times[first], span[0] - _TOLERANCE_S) - TICK)
        end = min(float(times[behind]) if behind < len(times) else end_s, span[1] + _TOLERANCE_S)
        while at < behind and (fill := _fill(end - times[at], lengths_s)):
            spare = max(0.0, end - times[at] - sum(fill))
            last = np.searchsorted(times, times[at] + min(spare, shots.sharpest_within_s) + TICK)
            start = float(times[at + np.argmax(pictures.sharpness[at:last])])
            found.append(Place(start, fill[0]))
            at = np.searchsorted(times, start + fill[0] - TICK)
    return found


def spread(places: Sequence[Place], most: int) -> list[Place]:
    """At most `most` of them, evenly over the source."""
    if len(places) <= most:
        return list(places)
    return [places[i] for i in np.linspace(0, len(places) - 1, most).round().astype(int)]


def _fill(room: float, lengths_s: Sequence[float]) -> list[float]:
    """The lengths that fill a room: of each as many as fit into what the longer ones leave."""
    fill: list[float] = []
    for length in lengths_s:
        fill += [length] * int((room - sum(fill) + _TOLERANCE_S) / length)
    return fill
