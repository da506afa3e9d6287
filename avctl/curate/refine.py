"""Shots split where what they show changes gradually, so that no clip holds two unlike frames one second apart.

Frames are sampled four times a second, and each is compared with the one a second later in the same shot. Where their
cosine stays below the threshold, the samples between which the change lies, and one more at each side, are in no shot.
"""

from __future__ import annotations

import numpy as np

from avctl.curate.embed import embedder
from avctl.media.pick import TICK
from avctl.schema import Refine

PER_S = 4  # samples a second


class Refiner:
    """Sees one span of a source."""

    def __init__(self, spec: Refine):
        self._embed, self._threshold = embedder(spec.path), spec.min_similarity
        self._at: list[int] = []
        self._vectors: list[np.ndarray] = []
        self._quarter: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Lines and columns of the frames to `add`."""
        return self._embed.size

    def wants(self, time_s: float) -> bool:
        """Whether the frame that begins at `time_s` is a sample, the first of its quarter of a second. Ask once."""
        before, self._quarter = self._quarter, int((time_s + TICK) * PER_S)
        return self._quarter != before

    def add(self, index: int, frame: np.ndarray) -> None:
        """A sample: the frame `index` as (*size, 3) uint8 RGB."""
        self._at.append(index)
        self._vectors.append(self._embed(frame))

    def changes(self, shots: np.ndarray) -> np.ndarray:
        """shots (S, 2) -> the changes (C, 2) inside them: behind one part, and the first frame of the next."""
        at = np.array(self._at, int)
        found = [
            (at[samples[behind]], at[samples[first]])
            for begin, end in shots
            if len(samples := np.flatnonzero((at >= begin) & (at < end))) > PER_S
            for behind, first in unlike(np.stack([self._vectors[k] for k in samples]), self._threshold)
        ]
        return np.array(found, int).reshape(-1, 2)


def unlike(vectors: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """Unit vectors (M, D) of the samples of a shot -> the first sample of each change, and the first one behind it."""
    alike = (vectors[PER_S:] * vectors[:-PER_S]).sum(axis=1)
    runs = np.flatnonzero(np.diff(alike < threshold, prepend=False, append=False)).reshape(-1, 2)
    changes: list[tuple[int, int]] = []
    for first, behind in runs:  # every pair of the run holds the change: it is between the last start and the first end
        begin, end = sorted((int(behind) - 1, int(first) + PER_S))
        begin, end = max(0, begin - 1), min(len(vectors) - 1, end + 1)
        if changes and begin <= changes[-1][1]:
            begin = changes.pop()[0]
        changes.append((begin, end))
    return changes
