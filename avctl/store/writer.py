"""Appends clips to a new store, chunk by chunk, so that memory stays small and equal clips give equal bytes.

A file (shard) is its chunks, each followed by its crc32c, then an index of (offset, bytes) a chunk as little-endian
uint64, then the crc32c of the index (Zarr v3, `sharding_indexed`). Zarr itself would want a whole file of every array
in memory, and leaves out chunks that are all zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import google_crc32c
import numpy as np

from avctl.store.index import Place
from avctl.store.layout import Series

if TYPE_CHECKING:
    import zarr


class Writer:
    """A new store at `path`. Arrays can be read when `close` has described them."""

    def __init__(self, path: Path):
        import zarr

        self._path, self._group = path, zarr.open_group(path, mode="w-")
        self._arrays: dict[str, _Array] = {}

    def append(self, series: Series, clip: np.ndarray) -> Place:
        """A clip (length, *item) to the end of an array, on a chunk boundary. ValueError for another shape or dtype."""
        if clip.shape[1:] != series.item or clip.dtype != series.dtype or not len(clip):
            raise ValueError(f"`{series.name}` holds {series.item} {series.dtype}, not {clip.shape} {clip.dtype}")
        if series.name not in self._arrays:
            self._arrays[series.name] = _Array(series, self._path / series.name)
        return Place(series.name, self._arrays[series.name].append(clip), len(clip))

    def close(self) -> None:
        """Finish the last file of every array, and describe the arrays."""
        for array in self._arrays.values():
            array.close()
            describe(array.series, self._group, array.num_chunks)


class _Array:
    """One array: whole files, and the one that is being filled."""

    def __init__(self, series: Series, folder: Path):
        self.series, self.folder = series, folder
        self.num_chunks = 0
        self._file: BinaryIO | None = None

    def append(self, clip: np.ndarray) -> int:
        """The item at which the clip begins."""
        offset, step = self.num_chunks * self.series.chunk, self.series.chunk
        for start in range(0, len(clip), step):
            chunk = clip[start : start + step]
            if len(chunk) < step:
                chunk = np.concatenate([chunk, np.zeros((step - len(chunk), *self.series.item), self.series.dtype)])
            self._write(np.ascontiguousarray(chunk).reshape(-1).view(np.uint8))
        return offset

    def close(self) -> None:
        if self._file:
            is_only = self.num_chunks < self.series.shard
            self._end_file(self.num_chunks if is_only else self.series.shard)

    def _write(self, chunk: np.ndarray) -> None:
        number, place = divmod(self.num_chunks, self.series.shard)
        if self._file is None:
            path = self.folder / "c" / "/".join([str(number), *["0"] * len(self.series.item)])
            path.parent.mkdir(parents=True)
            self._file = path.open("wb")
        self._file.write(chunk.data)
        self._file.write(crc32c(chunk))
        self.num_chunks += 1
        if place + 1 == self.series.shard:
            self._end_file(self.series.shard)

    def _end_file(self, places: int) -> None:
        """The index; places that hold no chunk have every bit set."""
        assert self._file
        filled = (self.num_chunks - 1) % self.series.shard + 1
        index = np.full((places, 2), 2**64 - 1, "<u8")
        index[:filled, 0] = np.arange(filled, dtype="<u8") * (self.series.chunk_bytes + 4)
        index[:filled, 1] = self.series.chunk_bytes + 4
        flat = index.reshape(-1).view(np.uint8)
        self._file.write(flat.data)
        self._file.write(crc32c(flat))
        self._file.close()
        self._file = None


def describe(series: Series, group: zarr.Group, num_chunks: int) -> zarr.Array:
    """Write the metadata of an array of so many chunks."""
    from zarr.codecs import Crc32cCodec

    return group.create_array(
        series.name,
        shape=(num_chunks * series.chunk, *series.item),
        chunks=(series.chunk, *series.item),
        shards=(min(series.shard, max(1, num_chunks)) * series.chunk, *series.item),
        dtype=series.dtype,
        compressors=[Crc32cCodec()],
        filters=None,
        fill_value=0,
        config={"write_empty_chunks": True},  # so that a file that is missing is known to be lost
    )


def crc32c(data: np.ndarray) -> bytes:
    """The checksum of bytes (n,) uint8 as it is stored."""
    return google_crc32c.value(data).to_bytes(4, "little")  # pyright: ignore[reportArgumentType]  # any read-only buffer
