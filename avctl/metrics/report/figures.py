"""Pictures of a clip on one time axis: a strip of its frames above the spectrogram of its sound, as PNG."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

WIDTH = 640  # pixels, of strip and spectrogram
_FRAMES = 16  # of the strip
_HEIGHT = 96  # of the spectrogram
_TOP_HZ, _LOW_HZ = 8_000.0, 80.0
_RANGE_DB = 70.0  # from black to white
# Black, violet, red, yellow, white: dark to light in even steps, so that it reads in grey too.
_RAMP = np.array([(0, 0, 4), (60, 15, 110), (150, 40, 110), (230, 90, 50), (252, 190, 80), (255, 255, 230)], float)


def filmstrip(frames: np.ndarray) -> str:
    """Frames (T, H, W, 3) uint8 -> data URI of 16 of them side by side, each at the start of its share of time."""
    count = min(_FRAMES, len(frames))
    chosen = frames[np.arange(count) * len(frames) // count]
    return png_uri(np.concatenate(list(chosen), axis=1))


def spectrogram(audio: np.ndarray, sample_rate: int) -> str:
    """Samples (samples, channels) -> data URI; x is time, y the logarithm of frequency, 80 Hz to 8 kHz."""
    window = int(0.04 * sample_rate)
    mono = np.pad(audio.mean(1), (window // 2, window))
    starts = np.linspace(0, len(audio) - 1, WIDTH // 2).astype(int)
    pieces = np.lib.stride_tricks.sliding_window_view(mono, window)[starts] * np.hanning(window)
    magnitude = np.abs(np.fft.rfft(pieces, 4 * window)) * (2 / np.hanning(window).sum())  # x bins
    top = min(_TOP_HZ, sample_rate / 2)
    rows = np.geomspace(top * 0.98, _LOW_HZ, _HEIGHT) * 4 * window / sample_rate
    level = 20 * np.log10(np.maximum(magnitude[:, rows.astype(int)].T, 1e-6))  # y x
    share = (level / _RANGE_DB + 1).clip(0, 1) * (len(_RAMP) - 1)
    shades = [np.interp(share, np.arange(len(_RAMP)), _RAMP[:, channel]) for channel in range(3)]
    return png_uri(np.stack(shades, axis=-1).astype(np.uint8))


def png_uri(pixels: np.ndarray) -> str:
    """(H, W, 3) uint8 -> `data:image/png;base64,...`; no dates, equal pixels give equal text (RFC 2083)."""
    height, width = pixels.shape[:2]
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)  # filter type 0
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
