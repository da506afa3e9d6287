"""Engines that decode the frames of clips, behind one interface. What one of them cannot decode, PyAV does.

Sound is always PyAV's: DALI reads no AAC and no MP3, and a data set has one clock.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from avctl.media.audio import Sound
    from avctl.media.decode import Media

Name = Literal["pyav", "dali", "torchcodec"]


class EngineError(Exception):
    """A file that this engine cannot decode. `reason` is a class that reports count; `detail` is a sentence."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Engine(Protocol):
    """Reads scanned files. Keep one a process: what is costly is built once."""

    name: str
    version: str  # of everything that decides about pixels
    is_on_gpu: bool  # then address space says nothing about memory: the driver maps all of it

    def count(self, media: Media) -> int:
        """How many frames the engine finds in the file. EngineError as `read`."""
        ...

    def read(self, media: Media, times_s: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Frames (T, H, W, 3) uint8 shown at `times_s` (see `pick`), and when each is presented (T,).

        EngineError where this engine cannot decode this file, MediaError where none can.
        """
        ...

    def sound(self, media: Media, start_s: float, end_s: float) -> Sound:
        """The sound that covers these times. EngineError and MediaError as `read`."""
        ...


@cache
def build(name: Name) -> Engine:
    """The engine of this process. MachineError where it is not installed."""
    match name:
        case "dali":
            from avctl.media.engines.dali import Dali

            return Dali()
        case "torchcodec":
            from avctl.media.engines.torchcodec import TorchCodec

            return TorchCodec()
        case "pyav":
            from avctl.media.engines.pyav import PyAV

            return PyAV()


def refuse_what_only_pyav_does(media: Media) -> None:
    """EngineError for files that need what other engines do not do, or do wrong without saying so."""
    scan = media.scanned
    if scan.interlaced:
        raise EngineError("interlaced", "only PyAV's frames are deinterlaced")
    if len(scan.sizes) > 1:
        raise EngineError("changes_size", f"the frames have {len(scan.sizes)} sizes")
    if scan.damaged:
        raise EngineError("damaged", f"{scan.damaged} packets do not decode: behind them frames would be miscounted")
