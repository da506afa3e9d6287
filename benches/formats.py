"""The same clips in every format that they may be read from: avctl's store, a flat file, a tar of npy.

A shard keeps whole samples behind each other and finds them by offset, as MDS does; webdataset can only be read in its
order. Of all readers, avctl, tensorstore and Zarr's own pipeline check what they read.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from avctl.store.index import Place
from avctl.store.layout import Series
from avctl.store.reader import ClipStore
from avctl.store.writer import Writer

Read = Callable[[int, int, int], np.ndarray]  # clip, first and last item -> (n, *item)
Sample = tuple[Series, tuple[int, ...]]  # the array that a clip belongs to, and the clip's shape


@dataclass(frozen=True)
class Kept:
    """The same clips in every format."""

    folder: Path
    samples: Sequence[Sample]
    places: Sequence[Place]
    offsets: Sequence[int]  # bytes, in `flat.bin`

    @property
    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def drop(self) -> None:
        """Take all files out of the page cache."""
        for path in self.files:
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def keep(folder: Path, samples: Sequence[Sample]) -> Kept:
    """Random clips as avctl's store, as one flat file and as a tar of npy."""
    generator, offsets, places = np.random.default_rng(0), [], []
    writer = Writer(folder / "clips.zarr")
    with (folder / "flat.bin").open("wb") as flat, tarfile.open(folder / "clips.tar", "w") as tar:
        for number, (series, shape) in enumerate(samples):
            clip = generator.integers(0, 255, shape, np.uint8).astype(series.dtype)
            places.append(writer.append(series, clip))
            offsets.append(flat.tell())
            flat.write(clip.data)
            stream = io.BytesIO()
            np.save(stream, clip)
            entry = tarfile.TarInfo(f"{number:06d}.npy")
            entry.size = stream.tell()
            stream.seek(0)
            tar.addfile(entry, stream)
    writer.close()
    return Kept(folder, samples, places, offsets)


def avctl(kept: Kept) -> Read:
    store = ClipStore(kept.folder)
    for place in kept.places:
        store.shape(place)  # opens its array

    def read(clip: int, start: int, stop: int) -> np.ndarray:
        place = kept.places[clip]
        return store.read(Place(place.name, place.offset + start, stop - start))

    return read


def memmap(kept: Kept) -> Read:
    flat = kept.folder / "flat.bin"
    clips = [
        np.memmap(flat, series.dtype, "r", offset, shape)
        for (series, shape), offset in zip(kept.samples, kept.offsets, strict=True)
    ]
    return lambda clip, start, stop: np.array(clips[clip][start:stop])


def shard(kept: Kept) -> Read:
    flat = (kept.folder / "flat.bin").open("rb")

    def read(clip: int, start: int, stop: int) -> np.ndarray:
        series, shape = kept.samples[clip]
        num_bytes = prod(shape) * np.dtype(series.dtype).itemsize
        whole = np.frombuffer(os.pread(flat.fileno(), num_bytes, kept.offsets[clip]), series.dtype)
        return whole.reshape(shape)[start:stop]

    return read


def zarr(kept: Kept, pipeline: str = "zarr.core.codec_pipeline.BatchedCodecPipeline") -> Read:
    import zarr

    with zarr.config.set({"codec_pipeline.path": pipeline, "threading.max_workers": 1}):
        group = zarr.open_group(kept.folder / "clips.zarr", mode="r")
        arrays: dict[str, Any] = {place.name: group[place.name] for place in kept.places}

    def read(clip: int, start: int, stop: int) -> np.ndarray:
        place = kept.places[clip]
        return arrays[place.name][place.offset + start : place.offset + stop]

    return read


def zarrs(kept: Kept) -> Read:
    return zarr(kept, "zarrs.ZarrsCodecPipeline")


def tensorstore(kept: Kept) -> Read:
    import tensorstore

    def opened(name: str) -> Any:
        path = str(kept.folder / "clips.zarr" / name)
        return tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}).result()

    arrays = {place.name: opened(place.name) for place in kept.places}

    def read(clip: int, start: int, stop: int) -> np.ndarray:
        place = kept.places[clip]
        return arrays[place.name][place.offset + start : place.offset + stop].read().result()

    return read


READERS: dict[str, Callable[[Kept], Read]] = {
    "avctl": avctl,
    "np.memmap": memmap,
    "shard": shard,
    "zarr": zarr,
    "zarrs": zarrs,
    "tensorstore": tensorstore,
}


def in_order(kept: Kept) -> Iterator[np.ndarray]:
    """Every clip by webdataset."""
    from webdataset import WebDataset  # pyright: ignore[reportAttributeAccessIssue]  # it fills its namespace itself

    for sample in WebDataset(str(kept.folder / "clips.tar"), shardshuffle=False).decode():
        yield sample["npy"]
