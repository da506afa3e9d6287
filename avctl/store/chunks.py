"""Reads slices of the arrays that `layout.py` describes, straight from their files, every chunk checked.

It exists because `zarrs` (0.2.3) does not check the crc32c of a chunk when it reads part of a shard, and Zarr's own
pipeline, which does, takes many times as long. `preadv` puts the items of neighbouring chunks where they are wanted,
with one call and no copy; what stands around them in their chunks, and the checksums, go to a side buffer.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple

import google_crc32c
import numpy as np

from avctl.errors import InputError

_CRC_BYTES = 4
_NOT_WRITTEN = 2**64 - 1  # offset and length, in the index, of a chunk that holds nothing but the fill value 0
_CALL_BYTES, _CALL_CHUNKS = 2**30, 256  # at most, of one `preadv`: Linux takes 2 GiB and 1,024 pieces
_OPEN_FILES = 64  # of an array: `FILES_AT_ONCE` of avctl/data/order.py; Linux allows 1,024 to all arrays together


class DamagedStore(InputError):
    """The bytes of a store are not those that were written."""

    def __init__(self, message: str):
        super().__init__(message, "`avctl ls --verify` names every damaged file; `--force` makes the artifact again")


class Shard(NamedTuple):
    """One open file: where its chunks begin, and how many bytes each takes with its checksum."""

    file: BinaryIO
    offsets: list[int]
    lengths: list[int]


class Piece(NamedTuple):
    """A chunk that is wanted: its number, and how its bytes divide into those before, of and behind what is wanted."""

    chunk: int
    before: int
    wanted: int
    behind: int


class ChunkedArray:
    """One array of a store, open for reading. `shape` (N, *item)."""

    def __init__(self, folder: Path):
        metadata = json.loads((folder / "zarr.json").read_text())
        self._folder = folder
        self.shape = tuple(metadata["shape"])
        self.dtype = np.dtype(metadata["data_type"])
        self._chunk = metadata["codecs"][0]["configuration"]["chunk_shape"][0]
        self._shard = metadata["chunk_grid"]["configuration"]["chunk_shape"][0] // self._chunk  # chunks a file
        self._item_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        self._chunk_bytes = self._chunk * self._item_bytes
        self._open = lru_cache(maxsize=_OPEN_FILES)(self._open_shard)

    def file_of(self, item: int) -> int:
        """The number of the file that an item lies in."""
        return item // (self._chunk * self._shard)

    def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Items `start` to `stop`, (stop - start, *item), in `out` if it is given: contiguous, of this shape and dtype.

        DamagedStore where a checksum does not match. IndexError for items that the array does not have.
        """
        if not 0 <= start <= stop <= self.shape[0]:
            raise IndexError(f"items {start} to {stop} of `{self._folder}`, which has {self.shape[0]}")
        if out is None:
            out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        assert out.flags.c_contiguous and out.shape == (stop - start, *self.shape[1:]) and out.dtype == self.dtype
        target, done = out.reshape(-1).view(np.uint8), 0
        pieces = self._pieces(start, stop)
        while pieces:
            run = self._run(pieces)
            size = sum(piece.wanted for piece in run)
            self._read_run(run, target[done : done + size])
            pieces, done = pieces[len(run) :], done + size
        return out

    def _pieces(self, start: int, stop: int) -> list[Piece]:
        """Every chunk that holds some of the items."""
        pieces = []
        for chunk in range(start // self._chunk, -(-stop // self._chunk)):
            before = max(0, start - chunk * self._chunk) * self._item_bytes
            behind = max(0, (chunk + 1) * self._chunk - stop) * self._item_bytes
            pieces.append(Piece(chunk, before, self._chunk_bytes - before - behind, behind))
        return pieces

    def _run(self, pieces: list[Piece]) -> list[Piece]:
        """The first pieces that follow each other in one file, as many as one call may read."""
        number, first = divmod(pieces[0].chunk, self._shard)
        offsets = self._open(number).offsets
        most = min(len(pieces), self._shard - first, _CALL_CHUNKS, max(1, _CALL_BYTES // self._chunk_bytes))
        step, count = self._chunk_bytes + _CRC_BYTES, 1
        while count < most and offsets[first + count] == offsets[first] + count * step:
            count += 1
        return pieces[:count]

    def _read_run(self, run: list[Piece], target: np.ndarray) -> None:
        """Read pieces that follow each other into `target`, whose bytes they are, and check them."""
        number, first = divmod(run[0].chunk, self._shard)
        shard = self._open(number)
        if shard.offsets[first] == shard.lengths[first] == _NOT_WRITTEN:
            target[:] = 0
            return
        buffers, chunks, begin = [], [], 0
        side = np.empty(sum(piece.before + piece.behind + _CRC_BYTES for piece in run), np.uint8)
        used = 0
        for piece in run:
            before = side[used : used + piece.before]
            behind = side[used + piece.before : used + piece.before + piece.behind]
            used += piece.before + piece.behind + _CRC_BYTES
            parts = (before, target[begin : begin + piece.wanted], behind, side[used - _CRC_BYTES : used])
            begin += piece.wanted
            buffers += [part for part in parts if len(part)]
            chunks.append(parts)
        size = len(run) * (self._chunk_bytes + _CRC_BYTES)
        is_whole = os.preadv(shard.file.fileno(), buffers, shard.offsets[first]) == size
        for piece, parts, place in zip(run, chunks, range(first, first + len(run)), strict=True):
            is_sound = shard.lengths[place] == self._chunk_bytes + _CRC_BYTES and _is_intact(*parts)
            if not is_whole or not is_sound:
                raise DamagedStore(f"chunk {piece.chunk} of `{self._folder}` is damaged")

    def _open_shard(self, number: int) -> Shard:
        path = self._folder / "c" / "/".join([str(number), *["0"] * (len(self.shape) - 1)])
        if not path.is_file():
            raise DamagedStore(f"`{path}` is missing")
        length = self._shard * 16 + _CRC_BYTES
        file = path.open("rb")
        data = np.frombuffer(os.pread(file.fileno(), length, max(0, path.stat().st_size - length)), np.uint8)
        if len(data) != length or not _is_intact(data[:-_CRC_BYTES], data[-_CRC_BYTES:]):
            raise DamagedStore(f"the index of `{path}` is damaged")
        index = data[:-_CRC_BYTES].view("<u8").reshape(-1, 2)
        return Shard(file, index[:, 0].tolist(), index[:, 1].tolist())


def _is_intact(*parts: np.ndarray) -> bool:
    """Whether the last part is the crc32c of those before, each (n,) uint8."""
    *data, stored = parts
    crc = 0
    for part in filter(len, data):
        crc = google_crc32c.extend(crc, part)  # pyright: ignore[reportArgumentType]  # any read-only buffer
    return crc == int.from_bytes(stored.tobytes(), "little")
