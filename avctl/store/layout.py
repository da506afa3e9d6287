"""How clips lie in a Zarr v3 store: one array a kind of data, clips end to end along the first axis.

Every clip begins on a chunk boundary, so that reading one never decodes a neighbour; the rest of its last chunk is
zero. Chunks carry a crc32c and are not compressed: a random read costs a third of what it does with zstd.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from avctl.schema import Clip

VIDEO_LATENTS, AUDIO_LATENTS = "latents/video", "latents/audio"  # names of arrays
FRAMES_A_CHUNK = 8  # pictures: the shortest window that training reads
LATENTS_A_CHUNK = 4  # at least; latents are read whole, and a chunk below 64 KiB costs more to find than to read
LATENT_CHUNK_BYTES = 64 * 2**10
SHARD_BYTES = 128 * 2**20  # a file; between the 64 and 256 MiB that parallel file systems like
SHARD_CHUNKS = 8_192  # at most, because every read decodes the index of its shard: 16 bytes a chunk


@dataclass(frozen=True)
class Series:
    """One array: `length` items of shape `item` a clip, in chunks of `chunk` items."""

    name: str
    item: tuple[int, ...]
    dtype: str
    length: int
    chunk: int

    @property
    def slot(self) -> int:
        """Items from the start of one clip to the start of the next."""
        return ceil(self.length / self.chunk) * self.chunk

    @property
    def slots_a_shard(self) -> int:
        """Whole clips a file, at least one."""
        chunk_bytes = self.chunk * prod(self.item) * np.dtype(self.dtype).itemsize
        chunks = min(SHARD_CHUNKS, SHARD_BYTES // chunk_bytes)
        return max(1, chunks * self.chunk // self.slot)

    def create(self, group: zarr.Group, num_clips: int) -> zarr.Array:
        """The empty array for `num_clips` clips, with its axes named."""
        shard = min(self.slots_a_shard, max(1, num_clips)) * self.slot
        return group.create_array(
            self.name,
            shape=(num_clips * self.slot, *self.item),
            chunks=(self.chunk, *self.item),
            shards=(shard, *self.item),
            dtype=self.dtype,
            compressors=[Crc32cCodec()],
            filters=None,
            fill_value=0,
            config={"write_empty_chunks": True},  # so that a file that is missing is known to be lost
            attributes={"length": self.length, "slot": self.slot},
        )


@dataclass(frozen=True)
class StoreLayout:
    """The arrays of one data set; latents only where the recipe names codecs."""

    video: Series
    audio: Series
    video_latents: Series | None = None
    audio_latents: Series | None = None

    @property
    def series(self) -> tuple[Series, ...]:
        found = (self.video, self.audio, self.video_latents, self.audio_latents)
        return tuple(series for series in found if series is not None)


def layout(
    clip: Clip, video_latent: tuple[int, ...] | None = None, audio_latent: tuple[int, ...] | None = None
) -> StoreLayout:
    """Arrays for clips of the recipe; `video_latent` (F, C, h, w) and `audio_latent` (F, C) are shapes a clip."""
    height, width = clip.size
    video = Series(f"video/{height}x{width}", (height, width, 3), "uint8", clip.frames, FRAMES_A_CHUNK)
    audio = Series(
        f"audio/{clip.sample_rate}x{clip.channels}", (clip.channels,), "int16", clip.samples, clip.sample_rate
    )
    return StoreLayout(video, audio, _latents(VIDEO_LATENTS, video_latent), _latents(AUDIO_LATENTS, audio_latent))


def open_group(path: Path, mode: str) -> zarr.Group:
    """The store read and written by `zarrs`, on one thread: with more it lays chunks down in the order they finish."""
    with zarr_settings():
        return zarr.open_group(path, mode=mode)  # pyright: ignore[reportArgumentType]


def zarr_settings():
    """Settings under which arrays are opened; they stay with the array."""
    return zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": 1})


def _latents(name: str, shape: tuple[int, ...] | None) -> Series | None:
    if shape is None:
        return None
    length, *item = shape
    enough = ceil(LATENT_CHUNK_BYTES / (2 * prod(item)))
    return Series(name, tuple(item), "float16", length, min(length, max(LATENTS_A_CHUNK, enough)))
