"""PyAV: FFmpeg on one processor thread. Decodes everything that is decoded at all; the others are measured by it."""

from __future__ import annotations

import av
import numpy as np

from avctl.media.audio import Sound
from avctl.media.decode import Media


class PyAV:
    name, is_on_gpu = "pyav", False
    version = " ".join([av.__version__, *(".".join(map(str, v)) for _, v in sorted(av.library_versions.items()))])

    def count(self, media: Media) -> int:
        return len(media.scanned.times)

    def read(self, media: Media, times_s: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        return media.read(times_s, size)

    def sound(self, media: Media, start_s: float, end_s: float) -> Sound:
        return media.sound(start_s, end_s)
