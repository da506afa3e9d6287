"""Slices are Zarr's own, bit for bit, and damage is never read as data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from avctl.store.chunks import ChunkedArray, DamagedStore
from avctl.store.layout import Series, open_group


@pytest.fixture
def values() -> np.ndarray:
    """Seven clips of 10 items of shape (3, 2); the third is zero."""
    made = np.random.default_rng(0).normal(size=(84, 3, 2)).astype(np.float16)
    made[24:36] = 0
    return made


@pytest.fixture
def folder(tmp_path: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("avctl.store.layout.SHARD_CHUNKS", 9)  # three clips a file
    array = Series("v", (3, 2), "float16", 10, 4).create(open_group(tmp_path / "clips.zarr", "w"), 7)
    array[:] = values
    return tmp_path / "clips.zarr" / "v"


def test_any_slice_equals_zarr(folder: Path, values: np.ndarray) -> None:
    ours, theirs = ChunkedArray(folder), zarr.open_array(folder, mode="r")
    for start in range(0, 84, 5):
        for stop in range(start + 1, 85, 7):
            read = ours.read(start, stop)
            assert np.array_equal(read, np.asarray(theirs[start:stop]))
            assert np.array_equal(read, values[start:stop])
            assert read.dtype == np.float16


def test_a_chunk_of_zeros_that_zarrs_did_not_write_is_black_and_not_damage(tmp_path: Path) -> None:
    frames = np.ones((24, 16, 16, 3), np.uint8)
    frames[8:16] = 0
    array = Series("v", (16, 16, 3), "uint8", 8, 8).create(open_group(tmp_path, "w"), 3)
    array[:] = frames
    assert np.array_equal(ChunkedArray(tmp_path / "v").read(0, 24), frames)


@pytest.mark.parametrize("place", [10, 100, -2, -30])
def test_a_flipped_bit_is_an_error_wherever_it_is(folder: Path, place: int) -> None:
    shard = folder / "c/0/0/0"
    data = bytearray(shard.read_bytes())
    data[place] ^= 4
    shard.write_bytes(data)
    with pytest.raises(DamagedStore, match="damaged"):
        ChunkedArray(folder).read(0, 36)
    ChunkedArray(folder).read(36, 48)  # the next file is whole


@pytest.mark.parametrize("left", [0, 3, 100, -40])
def test_a_file_that_was_cut_off_is_an_error(folder: Path, left: int) -> None:
    shard = folder / "c/1/0/0"
    shard.write_bytes(shard.read_bytes()[:left])
    with pytest.raises(DamagedStore):
        ChunkedArray(folder).read(36, 48)


def test_a_file_that_is_missing_is_an_error_and_not_a_black_clip(folder: Path) -> None:
    (folder / "c/1/0/0").unlink()
    with pytest.raises(DamagedStore, match="missing"):
        ChunkedArray(folder).read(36, 48)
