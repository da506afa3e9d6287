"""Files are what Zarr itself would write, and clips of any length follow each other on chunk boundaries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from avctl.store.layout import Series
from avctl.store.writer import Writer, describe

SERIES = Series("a/v", (3, 2), "float16", 4)
LENGTHS = (10, 1, 4, 8, 3, 5, 12)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avctl.store.layout.SHARD_CHUNKS", 5)


def clips(lengths: tuple[int, ...] = LENGTHS) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(size=(length, *SERIES.item)).astype(np.float16) for length in lengths]


def write(path: Path, values: list[np.ndarray]) -> list[int]:
    """The offsets of the clips."""
    writer = Writer(path)
    offsets = [writer.append(SERIES, clip).offset for clip in values]
    writer.close()
    return offsets


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("count", [1, 4, 5, 7])
def test_files_are_those_that_zarr_writes(tmp_path: Path, count: int) -> None:
    """However many of them are filled to the last place."""
    values = clips()[:count]
    offsets = write(tmp_path / "ours", values)
    num_chunks = sum(map(SERIES.chunks, map(len, values)))
    array = describe(SERIES, zarr.open_group(tmp_path / "theirs", mode="w-"), num_chunks)
    whole = np.zeros((num_chunks * SERIES.chunk, *SERIES.item), np.float16)
    for clip, offset in zip(values, offsets, strict=True):
        whole[offset : offset + len(clip)] = clip
    array[:] = whole
    ours, theirs = contents(tmp_path / "ours" / SERIES.name), contents(tmp_path / "theirs" / SERIES.name)
    assert ours.keys() == theirs.keys()
    assert ours["zarr.json"] == theirs["zarr.json"]
    assert ours == theirs
    read = zarr.open_group(tmp_path / "ours", mode="r")[SERIES.name]
    assert isinstance(read, zarr.Array)
    assert np.array_equal(np.asarray(read[:]), whole)


def test_clips_begin_on_chunk_boundaries(tmp_path: Path) -> None:
    assert write(tmp_path / "s", clips()) == [0, 12, 16, 20, 28, 32, 40]


def test_a_store_that_is_not_closed_has_no_arrays(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "s")
    writer.append(SERIES, clips()[0])
    assert [path.parent.name for path in tmp_path.rglob("zarr.json")] == ["s"]
    writer.close()
    assert (tmp_path / "s" / SERIES.name / "zarr.json").is_file()


@pytest.mark.parametrize(
    "clip", [np.zeros((4, 3, 3), np.float16), np.zeros((4, 3, 2), np.float32), np.zeros((0, 3, 2), np.float16)]
)
def test_what_an_array_does_not_hold_is_refused(tmp_path: Path, clip: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"`a/v` holds \(3, 2\) float16, not"):
        Writer(tmp_path / "s").append(SERIES, clip)
