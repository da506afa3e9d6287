"""Reads a preprocess artifact: clips by their row in the index, their arrays chunk by chunk, each one checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from sqlite3 import Row
from typing import Any

import numpy as np

from avctl.store.chunks import ChunkedArray
from avctl.store.index import CLIPS, open_index
from avctl.store.layout import AUDIO_LATENTS, VIDEO_LATENTS


@dataclass(frozen=True)
class Place:
    """Where a clip lies: `length` items from `offset` on of the array `name`."""

    name: str
    offset: int
    length: int


@dataclass(frozen=True)
class ClipRow:
    """One kept clip."""

    clip_id: str
    split: str
    caption: str
    truth: dict[str, Any] | None  # what a synthetic source knows about itself; times on the clock of the clip
    source_sha256: str
    start_s: float  # in the source
    skew: float  # samples by which the sound starts after the first frame
    key: str
    scores: Mapping[str, float | None]
    video: Place
    audio: Place
    video_latents: Place | None
    audio_latents: Place | None


class ClipStore:
    """A finished preprocess artifact. Cheap to open and to send to a spawned process."""

    def __init__(self, artifact: Path):
        self.artifact = artifact

    def clips(self, split: str | None = None) -> list[ClipRow]:
        """Kept clips, of one split or of all, in the order of their content hash."""
        query = "SELECT * FROM clips WHERE reason IS NULL AND (? IS NULL OR split = ?) ORDER BY clip_id"
        with open_index(self.artifact / "index.sqlite") as index:
            return [_clip_row(row) for row in index.execute(query, (split, split))]

    def frames(self, row: ClipRow) -> np.ndarray:
        """Frames (T, H, W, 3) uint8. DamagedStore where a checksum does not match."""
        return self._read(row.video)

    def audio(self, row: ClipRow) -> np.ndarray:
        """Samples (samples, channels) int16; full scale is 32768."""
        return self._read(row.audio)

    def latents(self, rows: Sequence[ClipRow]) -> tuple[np.ndarray, np.ndarray]:
        """Latents of video (n, F, C, h, w) and audio (n, F_a, C_a), float16, in the order of `rows`.

        ValueError for no rows, or rows without latents; DamagedStore where a checksum does not match.
        """
        video = [row.video_latents for row in rows if row.video_latents]
        audio = [row.audio_latents for row in rows if row.audio_latents]
        if not rows or len(video) != len(rows) or len(audio) != len(rows):
            raise ValueError(f"{len(rows)} rows, {len(video)} of them with latents: the recipe names no codecs")
        return np.stack([*map(self._read, video)]), np.stack([*map(self._read, audio)])

    def __getstate__(self) -> dict[str, Path]:
        return {"artifact": self.artifact}

    @cached_property
    def _arrays(self) -> dict[str, ChunkedArray]:
        return {}

    def _array(self, name: str) -> ChunkedArray:
        if name not in self._arrays:
            self._arrays[name] = ChunkedArray(self.artifact / "clips.zarr" / name)
        return self._arrays[name]

    def _read(self, place: Place) -> np.ndarray:
        return self._array(place.name).read(place.offset, place.offset + place.length)


def _clip_row(row: Row) -> ClipRow:
    return ClipRow(
        clip_id=row["clip_id"],
        split=row["split"],
        caption=row["caption"] or "",
        truth=json.loads(row["truth"]) if row["truth"] else None,
        source_sha256=row["source_sha256"],
        start_s=row["start_s"],
        skew=row["skew"],
        key=row["key"],
        scores={name: row[name] for name in row.keys() if name not in CLIPS},  # noqa: SIM118 - a Row yields values
        video=Place(row["video"], row["video_offset"], row["frames"]),
        audio=Place(row["audio"], row["audio_offset"], row["samples"]),
        video_latents=_latents(VIDEO_LATENTS, row["video_latents_offset"], row["video_latents"]),
        audio_latents=_latents(AUDIO_LATENTS, row["audio_latents_offset"], row["audio_latents"]),
    )


def _latents(name: str, offset: int | None, length: int | None) -> Place | None:
    return None if offset is None or length is None else Place(name, offset, length)
