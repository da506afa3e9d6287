"""Perceptual hash of a frame by DCT (Zauner 2010, section 3.2.1): near-duplicates differ in a few of its 64 bits.

A hash is 16 hex digits, because the integers of SQLite have a sign.
"""

from __future__ import annotations

import cv2
import numpy as np

_SIDE = 32  # pixels to which the frame is reduced, each way
_LOW = slice(1, 9)  # frequencies kept, each way: without the mean brightness, and without what texture and noise change


def phash(luma: np.ndarray) -> str:
    """Hash of luma (h, w) uint8: which of 8x8 frequencies lie above their median. Flat frames have no stable one."""
    small = cv2.resize(luma, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[_LOW, _LOW]
    return np.packbits(low > np.median(low)).tobytes().hex()


def distance(a: str, b: str) -> int:
    """Bits in which two hashes differ, 0..64. Unrelated frames: about 32; the same one encoded again: a few."""
    return (int(a, 16) ^ int(b, 16)).bit_count()
