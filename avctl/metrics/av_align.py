"""AV-Align: do onsets of the sound coincide with peaks of motion? (Yariv et al. 2023, with a one-to-one matching.)

Motion is the mean absolute change of luma from frame to frame, which also sees a light go on. The score is
M / (A + V - M) for M matches within one frame of A onsets and V peaks; dense random peaks score well above zero, so the
excess over circular rolls of the sound, (s - E) / (1 - E), stands beside it.
"""

from __future__ import annotations

import numpy as np

from avctl.metrics.events import num_matched

_ROLLS = 32


def motion_peaks(frames: np.ndarray, fps: float) -> np.ndarray:
    """Times (s) at which more changes than in the step before and the step after, and than on average.

    Frames (T, H, W, 3) uint8. A change from frame k to k + 1 has the time (k + 1/2) / fps.
    """
    luma = frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    motion = np.abs(np.diff(luma, axis=0)).mean((1, 2))
    padded = np.pad(motion, 1, constant_values=-1)
    # Half a grey level in 255 on average is noise.
    is_peak = (motion > padded[:-2]) & (motion >= padded[2:]) & (motion > max(0.5, motion.mean() if len(motion) else 0))
    return (np.flatnonzero(is_peak) + 0.5) / fps


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
