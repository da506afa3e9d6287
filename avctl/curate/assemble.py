"""From committed shards to the finished data set: rows, duplicates, splits, and every array in shard order.

Nothing here depends on which worker finished first, or on how often the stage was killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

from avctl.curate.filters import NAMES
from avctl.curate.prepare import Candidate, Outcome, Source
from avctl.curate.shards import Shard, WorkFolder, cut_clips
from avctl.curate.splits import side
from avctl.curate.truth import shift
from avctl.schema import Clip, Preprocess
from avctl.store.index import place_columns, write_index
from avctl.store.layout import StoreLayout
from avctl.store.writer import Writer


@dataclass(frozen=True)
class Kept:
    """A clip that is stored: its number among those in the files of its shard, and its row."""

    number: int
    row: dict[str, Any]


@dataclass
class Tables:
    """The rows of the index, and which clips of each shard are kept."""

    clips: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    kept: list[list[Kept]] = field(default_factory=list)  # a shard

    @property
    def num_kept(self) -> int:
        return sum(map(len, self.kept))


class Tabulator:
    """Turns outcomes into rows. Feed it every source in order: the first of equal clips is kept."""

    def __init__(self, preprocess: Preprocess, clip: Clip, codecs: str | None):
        self.preprocess, self.clip = preprocess, clip
        self._made_by = {
            "decoder": [av.__version__, *(".".join(map(str, v)) for _, v in sorted(av.library_versions.items()))],
            "codecs": codecs,
        }
        self._seen: set[str] = set()
        self.tables = Tables()

    def add(self, shard: Shard, outcomes: Sequence[Outcome]) -> None:
        """All sources of one shard."""
        kept: list[Kept] = []
        cut = 0
        for source, outcome in zip(shard, outcomes, strict=True):
            for candidate in outcome.clips:
                row = self._row(source, candidate)
                if row["reason"] is None:
                    kept.append(Kept(cut, row))
                cut += candidate.clip_id is not None
                self.tables.clips.append(row)
            self._add_source(source, outcome)
        self.tables.kept.append(kept)

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
            "truth": shift(source.truth, candidate.start_s, self._seconds(candidate)),
            "key": self._key(source, candidate),
            "skew": candidate.skew,
            "padded": candidate.padded,
            "engine": candidate.engine,
            "phash": candidate.phash,
            **candidate.scores,
        }

    def _seconds(self, candidate: Candidate) -> float:
        return self.clip.seconds if candidate.frames is None else candidate.frames / self.clip.fps

    def _key(self, source: Source, candidate: Candidate) -> str:
        clip = self.clip.model_dump(mode="json", exclude={"other_seconds", "other_sizes"})
        clip |= {"seconds": self._seconds(candidate), "size": candidate.size or self.clip.size}
        parts = {"source": source.sha256, "start_s": candidate.start_s, "clip": clip, **self._made_by}
        if candidate.engine not in (None, "pyav"):
            parts["engine"] = candidate.engine
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _add_source(self, source: Source, outcome: Outcome) -> None:
        row = {"sha256": source.sha256, "name": source.name, "reason": outcome.reason, "detail": outcome.detail}
        if outcome.reason:
            self.tables.quarantine.append(row)
        candidates = {"places": outcome.places, "candidates": len(outcome.clips)}
        candidates |= {"fallback": outcome.facts.get("fallback")}  # why PyAV decoded it and not the engine asked for
        self.tables.sources.append(row | candidates | {"facts": json.dumps(outcome.facts, sort_keys=True)})


def write_arrays(
    path: Path, workspace: WorkFolder, shards: Sequence[Shard], tables: Tables, layout: StoreLayout
) -> None:
    """`clips.zarr` with the kept clips of every shard, in order; their rows are told where they lie."""
    writer = Writer(path)
    for shard, kept in zip(shards, tables.kept, strict=True):
        cuts = cut_clips(workspace.outcomes(shard))
        arrays = {"video": workspace.frames(shard, cuts), "audio": workspace.audio(shard, cuts)}
        if layout.audio_latents:
            arrays |= workspace.latents(shard, len(cuts))
        for clip in kept:
            size = cuts[clip.number].size
            assert size
            places = {kind: writer.append(layout.series(kind, size), arrays[kind][clip.number]) for kind in arrays}
            clip.row.update(place_columns(places))
    writer.close()


def write_tables(path: Path, tables: Tables) -> None:
    """`index.sqlite`."""
    write_index(path, NAMES, tables.clips, {"sources": tables.sources, "quarantine": tables.quarantine})
