"""Bootstrap intervals over clips. The clip is the unit: events of one clip are not independent of each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEVEL = 0.95


def interval(
    statistic: Callable[[np.ndarray], float], num_clips: int, resamples: int, seed: int
) -> tuple[float, float] | None:
    """The percentile interval of `statistic(indices)` over clips drawn with replacement; None for fewer than two clips.

    Resamples for which the statistic is not a number (nothing in them to measure) are left out.
    """
    if num_clips < 2:
        return None
    rng = np.random.Generator(np.random.PCG64([seed, num_clips]))
    values = [statistic(rng.integers(0, num_clips, num_clips)) for _ in range(resamples)]
    finite = np.array(values)[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
