"""Frames of one source by the engine that the recipe asks for; by PyAV from the first clip on that it cannot give."""

from __future__ import annotations

import numpy as np

from avctl.media.decode import Media
from avctl.media.engines import EngineError, build
from avctl.media.parity import psnr_db
from avctl.media.pick import TICK
from avctl.schema import Decode

CHECKED = 4  # frames of the first clip of every source that are compared with PyAV's


class Reader:
    """`read` as `Media.read`. `used` says what gave the frames of the last clip, `fallback` why it is not the engine
    that was asked for."""

    def __init__(self, media: Media, decode: Decode):
        self.media, self._decode = media, decode
        self._engine = build(decode.engine)
        self._is_checked = self._engine.name == "pyav"
        self.fallback: EngineError | None = None

    @property
    def used(self) -> str:
        """Name and version; PyAV's version is part of every clip's key anyhow."""
        if self.fallback or self._engine.name == "pyav":
            return "pyav"
        return f"{self._engine.name} {self._engine.version}"

    def read(self, times_s: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Frames (T, H, W, 3) uint8 shown at `times_s`, and when each is presented (T,)."""
        if not self.fallback:
            try:
                frames, shown = self._engine.read(self.media, times_s, size)
                if not self._is_checked:
                    self._check(times_s, frames, shown)
                    self._is_checked = True
                return frames, shown
            except EngineError as error:
                self.fallback = error
        return self.media.read(times_s, size)

    def _check(self, times_s: np.ndarray, frames: np.ndarray, shown: np.ndarray) -> None:
        some = np.unique(np.linspace(0, len(times_s) - 1, CHECKED).round().astype(int))
        expected, times = self.media.read(times_s[some], (frames.shape[1], frames.shape[2]))
        if np.abs(shown[some] - times).max() > TICK:
            raise EngineError("parity", "other frames are shown than by PyAV")
        worst = min(psnr_db(a, b) for a, b in zip(frames[some], expected, strict=True))
        if worst < self._decode.min_psnr_db:
            raise EngineError("parity", f"{worst:.1f} dB from PyAV's frames")
