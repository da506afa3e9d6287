"""Reads slices of the arrays that `layout.py` describes, straight from their files, every chunk checked.

It exists because `zarrs` (0.2.3) does not check the crc32c of a chunk when it reads part of a shard, and Zarr's own
pipeline, which does, takes four times as long. A shard is its chunks, then an index of (offset, bytes) a chunk as
little-endian uint64, then the crc32c of the index (Zarr v3, `sharding_indexed`).
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from avctl.errors import InputError

_CRC_BYTES = 4
_NOT_WRITTEN = 2**64 - 1  # offset and length, in the index, of a chunk that holds nothing but the fill value 0


class DamagedStore(InputError):
    """The bytes of a store are not those that were written."""


class ChunkedArray:
    """One array of a store, open for reading. `shape` (N, *item)."""

    def __init__(self, folder: Path):
        metadata = json.loads((folder / "zarr.json").read_text())
        self._folder = folder
        self.shape = tuple(metadata["shape"])
        self.dtype = np.dtype(metadata["data_type"])
        self._shard = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        self._chunk = metadata["codecs"][0]["configuration"]["chunk_shape"][0]
        self._chunk_bytes = self._chunk * prod(self.shape[1:]) * self.dtype.itemsize
        self._index = lru_cache(maxsize=256)(self._read_index)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Items `start` to `stop`, (stop - start, *item). DamagedStore where a checksum does not match."""
        first, last = start // self._chunk, -(-stop // self._chunk)
        out = np.empty((last - first) * self._chunk_bytes, np.uint8)
        for position, chunk in enumerate(range(first, last)):
            out[position * self._chunk_bytes : (position + 1) * self._chunk_bytes] = self._read_chunk(chunk)
        items = out.view(self.dtype).reshape(-1, *self.shape[1:])
        return items[start - first * self._chunk :][: stop - start]

    def _read_chunk(self, chunk: int) -> np.ndarray:
        shard, place = divmod(chunk, self._shard // self._chunk)
        file, index = self._index(shard)
        offset, length = (int(value) for value in index[place])
        if offset == length == _NOT_WRITTEN:
            return np.zeros(self._chunk_bytes, np.uint8)
        if length != self._chunk_bytes + _CRC_BYTES or not _is_intact(data := os.pread(file.fileno(), length, offset)):
            raise DamagedStore(f"chunk {chunk} of `{self._folder}` is damaged")
        return np.frombuffer(data, np.uint8, self._chunk_bytes)

    def _read_index(self, shard: int) -> tuple[Any, np.ndarray]:
        path = self._folder / "c" / "/".join([str(shard), *["0"] * (len(self.shape) - 1)])
        if not path.is_file():
            raise DamagedStore(f"`{path}` is missing")
        length = self._shard // self._chunk * 16 + _CRC_BYTES
        file = path.open("rb")
        data = os.pread(file.fileno(), length, max(0, path.stat().st_size - length))
        if len(data) != length or not _is_intact(data):
            raise DamagedStore(f"the index of `{path}` is damaged")
        return file, np.frombuffer(data[:-_CRC_BYTES], "<u8").reshape(-1, 2)


def _is_intact(data: bytes) -> bool:
    """Whether the last four bytes are the crc32c of those before."""
    return google_crc32c.value(data[:-_CRC_BYTES]) == int.from_bytes(data[-_CRC_BYTES:], "little")
