"""How much a codec loses: PSNR and SSIM of frames, mel distance and SI-SDR of sound."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

_SIGMA = 1.5  # of the window, and the constants below: Wang et al. 2004
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_FLOOR_DB = -80.0  # below full scale: differences of what nobody hears do not count


def psnr(frames: np.ndarray, reference: np.ndarray) -> float:
    """Both (T, H, W, 3) uint8 -> dB over the clip; 100 dB for equal clips."""
    error = np.square(frames.astype(np.float64) - reference).mean()
    return float(min(100.0, 10 * np.log10(255**2 / max(error, 1e-12))))


def ssim(frames: np.ndarray, reference: np.ndarray) -> float:
    """Both (T, H, W, 3) uint8 -> mean structural similarity of luma, Gaussian window (Wang et al. 2004)."""
    weights = np.array([0.299, 0.587, 0.114])
    x, y = frames.astype(np.float64) @ weights, reference.astype(np.float64) @ weights

    def blur(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (0, _SIGMA, _SIGMA), truncate=3.5)  # 11x11

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    structure = (2 * cov + _C2) / (var_x + var_y + _C2)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return float((structure * luminance).mean())


def mel_distance_db(audio: np.ndarray, reference: np.ndarray, sample_rate: int) -> float:
    """Both (samples, channels) -> mean absolute difference of log-mel levels in dB, 40 bands, 32 ms, hop 10 ms."""
    levels = [_mel_db(sound, sample_rate) for sound in (audio, reference)]
    return float(np.abs(levels[0] - levels[1]).mean())


def si_sdr_db(audio: np.ndarray, reference: np.ndarray) -> float:
    """Both (samples, channels) -> scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019).

    Only for codecs that keep the phase. Not a number for a silent reference.
    """
    x, s = audio.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    energy = s @ s
    if energy < 1e-9:
        return float("nan")
    target = (x @ s) / energy * s
    return float(10 * np.log10(max(target @ target, 1e-12) / max(np.square(x - target).sum(), 1e-12)))


def _mel_db(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """(samples, channels) -> levels (frames, channels, 40) in dB below full scale."""
    window, hop = int(0.032 * sample_rate), int(0.01 * sample_rate)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, ((window, 0), (0, 0))), window, axis=0)[::hop]
    taper = np.hanning(window)
    magnitude = np.abs(np.fft.rfft(frames * taper)) * (2 / taper.sum())
    return 20 * np.log10(np.maximum(magnitude @ _bank(window, sample_rate), 10 ** (_FLOOR_DB / 20)))


def _bank(window: int, sample_rate: int) -> np.ndarray:
    """Triangles of sum 1, evenly spaced in mel = 2595 log10(1 + f / 700), 40 Hz up to half the rate."""
    lowest, highest = 2595 * np.log10(1 + np.array([40.0, sample_rate / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(lowest, highest, 42) / 2595) - 1)
    f = np.fft.rfftfreq(window, 1 / sample_rate)[:, None]
    rising = (f - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - f) / np.diff(edges)[1:]
    bank = np.minimum(rising, falling).clip(0)
    return bank / np.maximum(bank.sum(0), 1e-9)
