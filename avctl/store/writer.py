"""Appends clips to a new store, one whole file (Zarr shard) at a time, so that equal clips give equal bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from avctl.store.layout import Series, StoreLayout, open_group, zarr_settings


class Writer:
    """A new store at `path` for exactly `num_clips` clips.

    Memory: one file of every array (`layout.SHARD_BYTES` each, at most). `close` refuses a store that is not full.
    """

    def __init__(self, path: Path, layout: StoreLayout, num_clips: int):
        group = open_group(path, "w-")
        self._buffers = {series.name: _Buffer(series, group, num_clips) for series in layout.series}

    def append(self, name: str, clips: np.ndarray) -> None:
        """Clips (n, length, *item) to the end of the array `name`. ValueError for another shape or dtype."""
        self._buffers[name].append(clips)

    def close(self) -> None:
        """Write what is buffered. ValueError where an array has fewer clips than were announced."""
        for buffer in self._buffers.values():
            buffer.close()


class _Buffer:
    def __init__(self, series: Series, group: zarr.Group, num_clips: int):
        self.series, self.num_clips, self.done = series, num_clips, 0
        with zarr_settings():
            self.array = series.create(group, num_clips)
        slots = min(series.slots_a_shard, max(1, num_clips))
        self.held = np.zeros((slots, series.slot, *series.item), series.dtype)
        self.num_held = 0

    def append(self, clips: np.ndarray) -> None:
        expected = (self.series.length, *self.series.item)
        if clips.shape[1:] != expected or clips.dtype != self.series.dtype:
            raise ValueError(
                f"`{self.series.name}` holds {expected} {self.series.dtype}, not {clips.shape[1:]} {clips.dtype}"
            )
        for start in range(len(clips)):
            self.held[self.num_held, : self.series.length] = clips[start]
            self.num_held += 1
            if self.num_held == len(self.held):
                self._flush()

    def close(self) -> None:
        self._flush()
        if self.done != self.num_clips:
            raise ValueError(f"`{self.series.name}` holds {self.done} clips, {self.num_clips} were announced")

    def _flush(self) -> None:
        if self.num_held:
            start, slot = self.done * self.series.slot, self.series.slot
            self.array[start : start + self.num_held * slot] = self.held[: self.num_held].reshape(-1, *self.series.item)
            self.done, self.num_held = self.done + self.num_held, 0
