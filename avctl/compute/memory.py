"""What processes that allocate the same large arrays again and again ask of the C library."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt (malloc.h)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for what comes next, instead of giving it back and asking for it again.

    A step of a small model otherwise spends up to a seventh of its time on page faults, and preparing ten seconds of
    720p has ten thousand of them. Other C libraries lack the call, and do as they do.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_MMAP_THRESHOLD, 32 * 2**20)  # the largest that it takes
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
