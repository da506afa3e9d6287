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

from avctl.schema import Clip
from avctl.store.chunks import ChunkedArray
from avctl.store.index import CLIPS, PLACES, Place, open_index
from avctl.store.layout import layout


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
    video: Place | None  # None: the clip has no picture; one frame is an image
    audio: Place | None  # None: the clip has no sound
    video_latents: Place | None
    audio_latents: Place | None


class ClipStore:
    """A finished preprocess artifact. Cheap to open and to send to a spawned process."""

    def __init__(self, artifact: Path):
        self.artifact = artifact

    def clips(self, split: str | None = None, clip: Clip | None = None) -> list[ClipRow]:
        """Kept clips, of one split or of all, in the order of their content hash; with `clip` only those that have its
        size and its full length of picture and sound."""
        query = "SELECT * FROM clips WHERE reason IS NULL AND (? IS NULL OR split = ?) ORDER BY clip_id"
        with open_index(self.artifact / "index.sqlite") as index:
            found = index.execute(query, (split, split))
            scores = [name for name, *_ in found.description if name not in CLIPS]
            rows = [_clip_row(row, scores) for row in found]
        return [row for row in rows if clip is None or _is_of(row, clip)]

    def frames(self, row: ClipRow, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames `start` to `stop` (T, H, W, 3) uint8. ValueError for a clip without picture or without these frames,
        DamagedStore where a checksum does not match."""
        place = _there(row.video, row, "picture")
        stop = place.length if stop is None else stop
        if not 0 <= start <= stop <= place.length:
            raise ValueError(f"frames {start} to {stop} of a clip of {place.length}")
        return self.read(Place(place.name, place.offset + start, stop - start))

    def audio(self, row: ClipRow) -> np.ndarray:
        """Samples (samples, channels) int16; full scale is 32768. ValueError for a clip without sound."""
        return self.read(_there(row.audio, row, "sound"))

    def read(self, place: Place, out: np.ndarray | None = None) -> np.ndarray:
        """What lies there, (length, *item), in `out` if it is given. DamagedStore where a checksum does not match."""
        return self._array(place.name).read(place.offset, place.offset + place.length, out)

    def stack(self, places: Sequence[Place]) -> np.ndarray:
        """(n, length, *item), each read into its place in one array. ValueError for none and for different shapes,
        DamagedStore where a checksum does not match."""
        shapes = {self.shape(place) for place in places}
        if len(shapes) != 1:
            raise ValueError(f"clips of shapes {sorted(shapes)} make no batch")
        out = np.empty((len(places), *shapes.pop()), self._array(places[0].name).dtype)
        for place, into in zip(places, out, strict=True):
            self.read(place, into)
        return out

    def shape(self, place: Place) -> tuple[int, ...]:
        """Shape (length, *item) of what lies there."""
        return (place.length, *self._array(place.name).shape[1:])

    def file_of(self, place: Place) -> tuple[str, int]:
        """The file in which it begins: name of the array and number."""
        return place.name, self._array(place.name).file_of(place.offset)

    def __getstate__(self) -> dict[str, Path]:
        return {"artifact": self.artifact}

    @cached_property
    def _arrays(self) -> dict[str, ChunkedArray]:
        return {}

    def _array(self, name: str) -> ChunkedArray:
        if name not in self._arrays:
            self._arrays[name] = ChunkedArray(self.artifact / "clips.zarr" / name)
        return self._arrays[name]


def _there(place: Place | None, row: ClipRow, what: str) -> Place:
    if place is None:
        raise ValueError(f"clip {row.clip_id[:12]} has no {what}")
    return place


def _is_of(row: ClipRow, clip: Clip) -> bool:
    """Whether a clip has the size and the full length of `clip`, of picture and of sound."""
    plan = layout(clip)
    video, audio = (plan.video[clip.size].name, clip.frames), (plan.audio.name, clip.samples)
    found = [(place.name, place.length) if place else None for place in (row.video, row.audio)]
    return found == [video, audio]


def _clip_row(row: Row, scores: Sequence[str]) -> ClipRow:
    return ClipRow(
        clip_id=row["clip_id"],
        split=row["split"],
        caption=row["caption"] or "",
        truth=json.loads(row["truth"]) if row["truth"] else None,
        source_sha256=row["source_sha256"],
        start_s=row["start_s"],
        skew=row["skew"],
        key=row["key"],
        scores={name: row[name] for name in scores},
        **{kind: _place(row[name], row[offset], row[length]) for kind, (name, offset, length) in PLACES.items()},
    )


def _place(name: str | None, offset: int | None, length: int | None) -> Place | None:
    return None if name is None or offset is None or length is None else Place(name, offset, length)
