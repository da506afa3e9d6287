"""When a sound gets suddenly louder: onsets by spectral flux, rectified after the bands are summed.

Bands rectified one by one would hear the roughness that Griffin-Lim gives a steady tone.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

_WINDOW_S, _HOP_S = 0.032, 0.004
_BANDS = 24  # evenly spaced in mel, 100 Hz to 6 kHz
_SMOOTH_S = 0.008  # standard deviation of the smoothing of loudness over time
_RISE = 0.2  # of loudness within +-32 ms, relative to its maximum in the clip
_REACH_S = 0.032
APART_S = 0.07  # of two onsets, at least
_EARLY_S = 0.007  # window, smoothing and square root bring the middle of a rise forward by so much


def onsets(mono: np.ndarray, sample_rate: int) -> np.ndarray:
    """Times in seconds at which the sound (samples,) gets suddenly louder: the middles of the steepest rises.

    Loudness is the sum over mel bands of the square root of their magnitude: a soft note counts beside a loud one.
    """
    window, hop = int(_WINDOW_S * sample_rate), int(_HOP_S * sample_rate)
    reach, apart = round(_REACH_S / _HOP_S), round(APART_S / _HOP_S)
    # Windows lie within the clip, and its ends go on as loud as they are: silence there would be a click and a rise.
    spectra = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(mono, window)[::hop] * np.hanning(window)))
    loudness = gaussian_filter1d(np.sqrt(spectra @ _mel(window, sample_rate)).sum(1), _SMOOTH_S / _HOP_S)
    loudness = np.pad(loudness, reach, mode="edge")
    rise = (loudness[2 * reach :] - loudness[: -2 * reach]) / max(loudness.max(), 1e-9)
    found = [k for k in np.flatnonzero(rise > _RISE) if rise[k] >= rise[max(0, k - apart) : k + apart + 1].max()]
    times = [_middle(loudness[k : k + 2 * reach + 1]) + k - reach for k in found]
    return (np.array(times) * hop + window / 2) / sample_rate + _EARLY_S


def _middle(rise: np.ndarray) -> float:
    """Where a rising stretch first passes the middle between its ends, in steps from its start."""
    level = (rise[0] + rise[-1]) / 2
    k = int(np.argmax(rise >= level))
    return k - 1 + float((level - rise[k - 1]) / (rise[k] - rise[k - 1])) if k else 0.0


def _mel(window: int, sample_rate: int) -> np.ndarray:
    """Triangles evenly spaced in mel = 2595 log10(1 + f / 700): (window // 2 + 1, bands)."""
    top = min(6_000.0, sample_rate / 2)
    lowest, highest = 2595 * np.log10(1 + np.array([100, top]) / 700)
    edges = 700 * (10 ** (np.linspace(lowest, highest, _BANDS + 2) / 2595) - 1)
    f = np.fft.rfftfreq(window, 1 / sample_rate)[:, None]
    low, mid, high = edges[:-2], edges[1:-1], edges[2:]
    return np.minimum((f - low) / (mid - low), (high - f) / (high - mid)).clip(0)
