"""Where the frames of a source change from one shot to the next.

A detector is shown all frames of a span one after the other, each at the size that it asks for, and then says where
shots end and begin. At a hard cut the frame behind the last of a shot is the first of the next; a gradual change
(dissolve, fade, wipe) leaves frames between that belong to neither.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from avctl.schema import Content, TransNet


class CutDetector(Protocol):
    """Sees one span of a source."""

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Lines and columns at which it wants to see the frames of a source that has so many."""
        ...

    def add(self, frame: np.ndarray) -> None:
        """The next frame, (h, w, 3) uint8 RGB. The array may be used again after the call."""
        ...

    def changes(self) -> np.ndarray:
        """(C, 2) indices after the last frame was added: behind the last of a shot, and the first of the next."""
        ...


def detector(spec: Content | TransNet) -> CutDetector:
    """The detector of a recipe. MachineError where the package that it needs is missing."""
    match spec:
        case Content():
            from avctl.curate.cuts.content import ContentCuts

            return ContentCuts(spec)
        case TransNet():
            from avctl.curate.cuts.transnet import TransNetCuts

            return TransNetCuts(spec)
