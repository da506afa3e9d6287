"""From committed shards to the finished data set: rows, duplicates, splits, and every array in shard order.

Nothing here depends on which worker finished first, or on how often the stage was killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from avctl.curate.filters import NAMES
from avctl.curate.prepare import Candidate, Outcome, Source
from avctl.curate.shards import LATENTS, Shard, WorkFolder
from avctl.curate.splits import side
from avctl.curate.truth import shift
from avctl.schema import Clip, Preprocess
from avctl.store.index import write_index
from avctl.store.layout import StoreLayout
from avctl.store.writer import Writer


@dataclass
class Tables:
    """The rows of the index, and which clips of each shard are kept."""

    clips: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    kept: list[list[int]] = field(default_factory=list)  # a shard: places among the clips in its files

    @property
    def num_kept(self) -> int:
        return sum(map(len, self.kept))


class Tabulator:
    """Turns outcomes into rows. Feed it every source in order: the first of equal clips is kept."""

    def __init__(self, preprocess: Preprocess, clip: Clip, layout: StoreLayout, codecs: str | None):
        self.preprocess, self.clip, self.layout = preprocess, clip, layout
        self._made_by = {
            "clip": clip.model_dump(mode="json"),
            "decoder": [av.__version__, *(".".join(map(str, v)) for _, v in sorted(av.library_versions.items()))],
            "codecs": codecs,
        }
        self._seen: set[str] = set()
        self.tables = Tables()

    def add(self, shard: Shard, outcomes: Sequence[Outcome]) -> None:
        """All sources of one shard."""
        places: list[int] = []
        cut = 0
        for source, outcome in zip(shard, outcomes, strict=True):
            for candidate in outcome.clips:
                row = self._row(source, candidate)
                if row["reason"] is None:
                    row |= self._offsets(self.tables.num_kept + len(places))
                    places.append(cut)
                cut += candidate.clip_id is not None
                self.tables.clips.append(row)
            self._add_source(source, outcome)
        self.tables.kept.append(places)

    def _row(self, source: Source, candidate: Candidate) -> dict[str, Any]:
        reason = candidate.reason
        if candidate.clip_id in self._seen:
            reason = "duplicate"
        elif candidate.clip_id:
            self._seen.add(candidate.clip_id)
        by_clip = self.preprocess.split.by == "clip" and candidate.clip_id
        identity = candidate.clip_id if by_clip and candidate.clip_id else source.sha256
        return {
            "clip_id": candidate.clip_id,
            "source_sha256": source.sha256,
            "start_s": candidate.start_s,
            "reason": reason,
            "split": side(identity, self.preprocess.split, source.split),
            "caption": source.caption,
            "truth": shift(source.truth, candidate.start_s, self.clip.seconds),
            "key": self._key(source, candidate),
            "skew": candidate.skew,
            "padded": candidate.padded,
            **candidate.scores,
        }

    def _key(self, source: Source, candidate: Candidate) -> str:
        parts = {"source": source.sha256, "start_s": candidate.start_s, **self._made_by}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _offsets(self, place: int) -> dict[str, Any]:
        """Columns of the index that say where the kept clip number `place` lies."""
        video, audio = self.layout.video, self.layout.audio
        columns: dict[str, Any] = {"video": video.name, "video_offset": place * video.slot, "frames": video.length}
        columns |= {"audio": audio.name, "audio_offset": place * audio.slot, "samples": audio.length}
        for name, series in (("video", self.layout.video_latents), ("audio", self.layout.audio_latents)):
            if series:
                columns |= {f"{name}_latents_offset": place * series.slot, f"{name}_latents": series.length}
        return columns

    def _add_source(self, source: Source, outcome: Outcome) -> None:
        row = {"sha256": source.sha256, "name": source.name, "reason": outcome.reason, "detail": outcome.detail}
        if outcome.reason:
            self.tables.quarantine.append(row)
        candidates = {"places": outcome.places, "candidates": len(outcome.clips)}
        self.tables.sources.append(row | candidates | {"facts": json.dumps(outcome.facts, sort_keys=True)})


def write_arrays(
    path: Path, workspace: WorkFolder, shards: Sequence[Shard], kept: Sequence[Sequence[int]], layout: StoreLayout
) -> None:
    """`clips.zarr` with the kept clips of every shard, in order."""
    writer = Writer(path, layout, sum(map(len, kept)))
    for shard, places in zip(shards, kept, strict=True):
        for name, clips in shard_arrays(workspace, shard, layout).items():
            for place in places:
                writer.append(name, clips[place : place + 1])
    writer.close()


def shard_arrays(workspace: WorkFolder, shard: Shard, layout: StoreLayout) -> Mapping[str, np.ndarray]:
    """The arrays of a committed shard by their name in the store."""
    arrays = {layout.video.name: workspace.frames(shard), layout.audio.name: workspace.audio(shard)}
    for series, file in zip((layout.video_latents, layout.audio_latents), LATENTS, strict=True):
        if series:
            arrays[series.name] = workspace.read(shard, file, np.float16, (series.length, *series.item))
    return arrays


def write_tables(path: Path, tables: Tables) -> None:
    """`index.sqlite`."""
    write_index(path, NAMES, tables.clips, {"sources": tables.sources, "quarantine": tables.quarantine})
