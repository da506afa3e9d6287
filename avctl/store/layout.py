"""How clips lie in a Zarr v3 store: one array a kind of data and size, clips of any length end to end.

`video/{H}x{W}` (T, H, W, 3) uint8, `audio/{rate}x{channels}` (samples, channels) int16, `latents/video/{h}x{w}`
(F, C, h, w) and `latents/audio` (F, C) float16. Every clip begins on a chunk boundary, so that reading one never
decodes a neighbour; the rest of its last chunk is zero. Chunks carry a crc32c and are not compressed: a random read
costs a third of what it does with zstd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, prod

import numpy as np

from avctl.schema import Clip

FRAMES_A_CHUNK = 8  # pictures: the shortest window that training reads
LATENTS_A_CHUNK = 4  # at least; latents are read whole, and a chunk below 64 KiB costs more to find than to read
LATENT_CHUNK_BYTES = 64 * 2**10
SHARD_BYTES = 256 * 10**6  # a file; parallel file systems like 64 to 256 MB, and people few files
SHARD_CHUNKS = 8_192  # at most, because every read decodes the index of its shard: 16 bytes a chunk


@dataclass(frozen=True)
class Series:
    """One array: clips of items of shape `item`, in chunks of `chunk` items."""

    name: str
    item: tuple[int, ...]
    dtype: str
    chunk: int

    @property
    def chunk_bytes(self) -> int:
        return self.chunk * prod(self.item) * np.dtype(self.dtype).itemsize

    @property
    def shard(self) -> int:
        """Chunks a file."""
        return max(1, min(SHARD_CHUNKS, SHARD_BYTES // self.chunk_bytes))

    def chunks(self, length: int) -> int:
        """Chunks of a clip of `length` items."""
        return ceil(length / self.chunk)


@dataclass(frozen=True)
class StoreLayout:
    """The arrays of one data set, by the size of the pictures; latents only where the recipe names codecs."""

    video: Mapping[tuple[int, int], Series]
    audio: Series
    video_latents: Mapping[tuple[int, int], Series] = field(default_factory=dict)
    audio_latents: Series | None = None

    def series(self, kind: str, size: tuple[int, int]) -> Series:
        """The array for one kind of data (a key of `index.PLACES`) of clips of a size. KeyError where there is none."""
        of_size = {"video": self.video.get(size), "video_latents": self.video_latents.get(size)}
        found = {"audio": self.audio, "audio_latents": self.audio_latents, **of_size}[kind]
        if found is None:
            raise KeyError(f"{kind} of {size}")
        return found


def layout(
    clip: Clip,
    video_latents: Mapping[tuple[int, int], tuple[int, ...]] | None = None,
    audio_latent: tuple[int, ...] | None = None,
) -> StoreLayout:
    """Arrays for clips of the recipe. Shapes of the latents of the longest clip: of video (F, C, h, w) by the size of
    its pictures, of audio (F, C)."""
    sizes = (clip.size, *clip.other_sizes)
    return StoreLayout(
        {size: Series(f"video/{size[0]}x{size[1]}", (*size, 3), "uint8", FRAMES_A_CHUNK) for size in sizes},
        Series(f"audio/{clip.sample_rate}x{clip.channels}", (clip.channels,), "int16", clip.sample_rate),
        {size: _latents("latents/video/{}x{}".format(*s[2:]), s) for size, s in (video_latents or {}).items()},
        _latents("latents/audio", audio_latent) if audio_latent else None,
    )


def _latents(name: str, shape: tuple[int, ...]) -> Series:
    longest, *item = shape
    enough = ceil(LATENT_CHUNK_BYTES / (2 * prod(item)))
    return Series(name, tuple(item), "float16", min(longest, max(LATENTS_A_CHUNK, enough)))
