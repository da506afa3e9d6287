"""Statistics of what was measured clip by clip, and their bootstrap intervals.

The clip is the unit that is resampled: events of one clip are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

LEVEL = 0.95
Statistic = Callable[[np.ndarray], float]  # of the measurements of some clips, put together


def pooled(statistic: Statistic, values: Sequence[np.ndarray], chosen: Sequence[int] | np.ndarray) -> float:
    """The statistic of everything that the chosen clips gave; not a number where they gave nothing."""
    some = [values[i] for i in chosen if len(values[i])]
    return float(statistic(np.concatenate(some))) if some else float("nan")


def interval(
    statistic: Statistic, values: Sequence[np.ndarray], resamples: int, seed: int
) -> tuple[float, float] | None:
    """The percentile interval over clips drawn with replacement; None for fewer than two clips.

    Resamples for which the statistic is not a number (nothing in them to measure) are left out.
    """
    n = len(values)
    if n < 2:
        return None
    rng = np.random.Generator(np.random.PCG64([seed, n]))
    drawn = [pooled(statistic, values, rng.integers(0, n, n)) for _ in range(resamples)]
    finite = np.array(drawn)[np.isfinite(drawn)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean(values: np.ndarray) -> float:
    return float(values.mean())


def median_size(values: np.ndarray) -> float:
    return float(np.median(np.abs(values)))


def p95_size(values: np.ndarray) -> float:
    return float(np.quantile(np.abs(values), 0.95))


def signed_median(values: np.ndarray) -> float:
    return float(np.median(values))


def ratio_to_other(table: np.ndarray) -> float:
    """Rows (distance, whether it is another clip's): median distance over that with other clips' sound."""
    other = table[:, 1] > 0
    own_median, other_median = (median_size(table[rows, 0]) if rows.any() else np.nan for rows in (~other, other))
    return float(own_median / other_median) if other_median > 0 else float("nan")


def precision(table: np.ndarray) -> float:
    """Rows (matched, seen, heard), a clip each."""
    return float(table[:, 0].sum() / max(table[:, 2].sum(), 1))


def recall(table: np.ndarray) -> float:
    """Rows (matched, seen, heard), a clip each."""
    return float(table[:, 0].sum() / max(table[:, 1].sum(), 1))


def f1(table: np.ndarray) -> float:
    """Rows (matched, seen, heard), a clip each."""
    return float(2 * table[:, 0].sum() / max(table[:, 1:].sum(), 1))
