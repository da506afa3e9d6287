"""How well two lists of event times agree: one-to-one matching, and distances to the nearest.

What happens within `EDGE_S` of a clip's ends is matched, but not missed: a reader cannot see all of it.
Times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EDGE_S = (0.06, 0.1)  # at the start and at the end of a clip
NOTHING_S = 0.5  # the distance to an event that is not there: no period of the small world has more than 0.4 s to go


@dataclass(frozen=True)
class Events:
    """What one clip shows and sounds. `expected` is how many events it should have, where that is known."""

    seen_s: np.ndarray
    heard_s: np.ndarray
    seconds: float
    expected: int = 1


def num_matched(a: np.ndarray, b: np.ndarray, tolerance_s: float) -> int:
    """Size of the largest one-to-one matching of times not farther apart than the tolerance.

    On a line, taking the earliest possible partner in order of time is a maximum bipartite matching.
    """
    return int(_partners(np.sort(a), np.sort(b), tolerance_s)[0].sum())


def counts(events: Events, tolerance_s: float) -> tuple[int, int, int]:
    """(matched, seen, heard) of one clip. A clip without any event has missed the expected ones."""
    seen, heard = np.sort(events.seen_s), np.sort(events.heard_s)
    if not len(seen) and not len(heard):
        return 0, max(1, events.expected), max(1, events.expected)
    seen_has, heard_has = _partners(seen, heard, tolerance_s)
    counted_seen = seen_has | _is_inner(seen, events.seconds)
    counted_heard = heard_has | _is_inner(heard, events.seconds)
    return int(seen_has.sum()), int(counted_seen.sum()), int(counted_heard.sum())


def errors(events: Events) -> np.ndarray:
    """Signed distance, heard less seen, from every seen event to the nearest heard one and from every heard to the
    nearest seen: positive where the sound is late. NOTHING_S where the other list is empty, so that neither silence
    nor a black picture is a way to agree; so many times as events were expected where both are."""
    seen, heard = events.seen_s, events.heard_s
    if not len(seen) and not len(heard):
        return np.full(max(1, events.expected), NOTHING_S)
    forward = [_nearest(heard, t) for t in seen[_is_inner(seen, events.seconds)]]
    backward = [-_nearest(seen, t) for t in heard[_is_inner(heard, events.seconds)]]
    return np.abs(backward + forward) if not len(seen) or not len(heard) else np.array(forward + backward)


def _nearest(times: np.ndarray, t: float) -> float:
    if not len(times):
        return NOTHING_S
    distance = float((times - t)[np.abs(times - t).argmin()])
    return float(np.clip(distance, -NOTHING_S, NOTHING_S))


def _is_inner(times: np.ndarray, seconds: float) -> np.ndarray:
    return (times > EDGE_S[0]) & (times < seconds - EDGE_S[1])


def _partners(a: np.ndarray, b: np.ndarray, tolerance_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Which of the sorted times have a partner."""
    a_has, b_has = np.zeros(len(a), bool), np.zeros(len(b), bool)
    i = j = 0
    while i < len(a) and j < len(b):
        if abs(a[i] - b[j]) <= tolerance_s:
            a_has[i] = b_has[j] = True
            i, j = i + 1, j + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return a_has, b_has
