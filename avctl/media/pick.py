"""Which frame of a source is shown at a time: the one rule that every engine follows."""

from __future__ import annotations

import numpy as np

TICK = 1e-6  # seconds; time stamps closer than this are equal


def pick(times: np.ndarray, wanted: np.ndarray, interval_s: float) -> np.ndarray:
    """Indices into `times` (N,), ascending, of the frames shown at `wanted` (T,), both in seconds -> (T,) int.

    The frame for a time is the last one that begins less than half a frame interval after it: at a constant rate the
    nearest one (the earlier of two), at a variable rate never one from beyond a long still picture.
    """
    return np.maximum(np.searchsorted(times, wanted + interval_s / 2 - TICK, "left") - 1, 0)
