"""Slices are Zarr's own, bit for bit, and damage is never read as data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr

from avctl.data.order import FILES_AT_ONCE
from avctl.store.chunks import ChunkedArray, DamagedStore
from avctl.store.layout import Series
from avctl.store.writer import Writer, describe

SERIES = Series("v", (3, 2), "float16", 4)


@pytest.fixture
def values() -> np.ndarray:
    """Seven clips of 12 items of shape (3, 2); the third is zero."""
    made = np.random.default_rng(0).normal(size=(84, 3, 2)).astype(np.float16)
    made[24:36] = 0
    return made


@pytest.fixture
def folder(tmp_path: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("avctl.store.layout.SHARD_CHUNKS", 9)  # three clips a file
    writer = Writer(tmp_path / "clips.zarr")
    for clip in np.split(values, 7):
        writer.append(SERIES, clip)
    writer.close()
    return tmp_path / "clips.zarr" / "v"


def test_any_slice_equals_zarr_and_tensorstore(folder: Path, values: np.ndarray) -> None:
    ours, theirs = ChunkedArray(folder), zarr.open_array(folder, mode="r")
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder)}}
    other = tensorstore.open(spec).result()
    for start in range(0, 84, 5):
        for stop in range(start + 1, 85, 7):
            read = ours.read(start, stop)
            assert np.array_equal(read, np.asarray(theirs[start:stop]))
            assert np.array_equal(read, other[start:stop].read().result())
            assert np.array_equal(read, values[start:stop])
            assert read.dtype == np.float16


def test_every_slice_is_read_into_its_place_and_nothing_beside_it(folder: Path, values: np.ndarray) -> None:
    array = ChunkedArray(folder)
    for start in range(84):
        for stop in range(start, 85):
            out = np.full((stop - start + 2, 3, 2), 7, np.float16)
            array.read(start, stop, out[1:-1])
            assert np.array_equal(out[1:-1], values[start:stop])
            assert (out[[0, -1]] == 7).all()


def test_chunks_that_another_writer_scattered_or_left_out_are_found(tmp_path: Path, values: np.ndarray) -> None:
    """`zarrs` lays chunks down in the order in which it finishes them, and leaves out those of zeros."""
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        array = describe(SERIES, zarr.open_group(tmp_path, mode="w"), 21)
        array[:] = values
    assert np.array_equal(ChunkedArray(tmp_path / "v").read(0, 84), values)


def test_calls_are_no_longer_than_the_system_takes(
    folder: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("_CALL_CHUNKS", 2), ("_CALL_BYTES", 100)):
        monkeypatch.setattr(f"avctl.store.chunks.{name}", most)
        assert np.array_equal(ChunkedArray(folder).read(3, 80), values[3:80])


def test_no_more_files_are_open_than_clips_are_shuffled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avctl.store.layout.SHARD_CHUNKS", 1)
    writer = Writer(tmp_path / "clips.zarr")
    for _ in range(FILES_AT_ONCE + 5):
        writer.append(SERIES, np.ones((4, 3, 2), np.float16))
    writer.close()
    array = ChunkedArray(tmp_path / "clips.zarr" / "v")
    array.read(0, array.shape[0])
    assert len({array.file_of(item) for item in range(array.shape[0])}) > FILES_AT_ONCE
    assert sum(path.resolve().is_relative_to(tmp_path) for path in Path("/proc/self/fd").iterdir()) == FILES_AT_ONCE


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (80, 85), (5, 4)])
def test_items_that_are_not_there_are_an_error(folder: Path, start: int, stop: int) -> None:
    with pytest.raises(IndexError, match="which has 84"):
        ChunkedArray(folder).read(start, stop)


@pytest.mark.parametrize("place", [10, 100, -2, -30])
def test_a_flipped_bit_is_an_error_wherever_it_is(folder: Path, place: int) -> None:
    shard = folder / "c/0/0/0"
    data = bytearray(shard.read_bytes())
    data[place] ^= 4
    shard.write_bytes(data)
    with pytest.raises(DamagedStore, match="damaged"):
        ChunkedArray(folder).read(0, 36)
    ChunkedArray(folder).read(36, 48)  # the next file is whole


def test_damage_beside_what_is_wanted_is_an_error_if_it_lies_in_the_same_chunk(folder: Path) -> None:
    shard = folder / "c/0/0/0"
    data = bytearray(shard.read_bytes())
    data[0] ^= 4
    shard.write_bytes(data)
    with pytest.raises(DamagedStore, match="chunk 0 of"):
        ChunkedArray(folder).read(3, 6)
    ChunkedArray(folder).read(4, 36)


@pytest.mark.parametrize("left", [0, 3, 100, -40])
def test_a_file_that_was_cut_off_is_an_error(folder: Path, left: int) -> None:
    shard = folder / "c/1/0/0"
    shard.write_bytes(shard.read_bytes()[:left])
    with pytest.raises(DamagedStore):
        ChunkedArray(folder).read(36, 48)


def test_a_file_that_is_cut_off_while_it_is_open_is_an_error(folder: Path) -> None:
    array = ChunkedArray(folder)
    array.read(0, 4)
    with (folder / "c/0/0/0").open("r+b") as file:
        file.truncate(60)
    with pytest.raises(DamagedStore, match="damaged"):
        array.read(0, 36)


def test_a_file_that_is_missing_is_an_error_and_not_a_black_clip(folder: Path) -> None:
    (folder / "c/1/0/0").unlink()
    with pytest.raises(DamagedStore, match="missing"):
        ChunkedArray(folder).read(36, 48)
