"""AV-Align: do onsets of the sound coincide with peaks of motion? (Yariv et al. 2023, with a one-to-one matching.)

Motion is the mean magnitude of dense optical flow (Farneback 2003) from frame to frame, which also sees a light go on.
The score is M / (A + V - M) for M matches within one frame of A onsets and V peaks; dense random peaks score well above
zero, so the excess over circular rolls of the sound, (s - E) / (1 - E), stands beside it.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from avctl.metrics.events import num_matched

_ROLLS = 32
_LINES = 64  # frames are reduced to as many for the flow
_STILL = 0.05  # pixels of those frames a step, on average: noise


def motion_peaks(frames: np.ndarray, fps: float) -> np.ndarray:
    """Times (s) at which more moves than in the step before and the step after, and than on average.

    Frames (T, H, W, 3) uint8. A step from frame k to k + 1 has the time (k + 1/2) / fps.
    """
    motion = np.array([_motion(*pair) for pair in pairwise(map(_grey, frames))])
    padded = np.pad(motion, 1, constant_values=-1)
    least = max(_STILL, motion.mean()) if len(motion) else _STILL
    is_peak = (motion > padded[:-2]) & (motion >= padded[2:]) & (motion > least)
    return (np.flatnonzero(is_peak) + 0.5) / fps


def _grey(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (h, w) with at most `_LINES` lines."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, _LINES / len(grey))
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey


def _motion(before: np.ndarray, after: np.ndarray) -> float:
    """Mean length of the flow in pixels."""
    flow = cv2.calcOpticalFlowFarneback(
        before, after, np.empty(0), pyr_scale=0.5, levels=3, winsize=7, iterations=3, poly_n=5, poly_sigma=1.2, flags=0
    )
    return float(np.linalg.norm(flow, axis=-1).mean())


def av_align(onsets_s: np.ndarray, peaks_s: np.ndarray, fps: float) -> float | None:
    """The score in [0, 1]; None, not applicable, where nothing sounds and nothing moves."""
    total = len(onsets_s) + len(peaks_s)
    if not total:
        return None
    matched = num_matched(onsets_s, peaks_s, 1 / fps)
    return matched / (total - matched)


def excess(onsets_s: np.ndarray, peaks_s: np.ndarray, fps: float, seconds: float) -> float | None:
    """How much of the way from chance to 1: 0 is what the same sound gives at a random time; can be negative."""
    score = av_align(onsets_s, peaks_s, fps)
    if score is None:
        return None
    shifts = np.arange(1, _ROLLS + 1) * seconds / (_ROLLS + 1)
    rolled = [av_align((onsets_s + shift) % seconds, peaks_s, fps) or 0.0 for shift in shifts]
    chance = float(np.mean(rolled))
    return (score - chance) / (1 - chance) if chance < 1 else 0.0
