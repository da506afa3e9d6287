"""From finished sources to the data set: rows, duplicates, splits, and every array, in the order of their hash.

Nothing here depends on which worker finished first, or on how often the stage was killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from avctl.curate.earlier import Earlier
from avctl.curate.filters import NAMES
from avctl.curate.prepare import Candidate, Outcome, Source
from avctl.curate.shards import Finished, Shard, WorkFolder, cut_clips
from avctl.curate.splits import side
from avctl.curate.truth import shift
from avctl.media.engines.pyav import PyAV
from avctl.schema import Clip, Preprocess
from avctl.store.index import place_columns, write_index
from avctl.store.layout import StoreLayout
from avctl.store.writer import Writer


@dataclass(frozen=True)
class Kept:
    """A clip that is stored: its row, and its number among those of a shard."""

    row: dict[str, Any]
    shard: Shard | None
    number: int


@dataclass
class Tables:
    """The rows of the index, and which clips of each shard are kept."""

    clips: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)

    @property
    def refused(self) -> list[dict[str, Any]]:
        """The sources that could not be used."""
        return [source for source in self.sources if source["reason"]]


class Tabulator:
    """Turns outcomes into rows. Feed it every source in order: the first of equal clips is kept."""

    def __init__(self, preprocess: Preprocess, clip: Clip, codecs: Callable[[], str | None]):
        """`codecs` gives the fingerprint of what makes latents, if anything does; it is asked when there is a clip."""
        self.preprocess, self.clip, self._codecs = preprocess, clip, codecs
        self._seen: set[str] = set()
        self.tables = Tables()

    def add(self, finished: Finished) -> None:
        number = finished.first
        for candidate in finished.outcome.clips:
            row = self._row(finished.source, candidate)
            if row["reason"] is None:
                self.tables.kept.append(Kept(row, finished.shard, number))
            number += candidate.clip_id is not None
            self.tables.clips.append(row)
        self._add_source(finished.source, finished.outcome)

    def key(self, source: Source, candidate: Candidate) -> str:
        """Hash of everything that makes a clip what it is: source, place, normalisation, decoder, codecs."""
        clip = self.clip.model_dump(mode="json", exclude={"other_seconds", "other_sizes"})
        clip |= {"seconds": self._seconds(candidate), "size": candidate.size or self.clip.size}
        parts = {"source": source.sha256, "start_s": candidate.start_s, "clip": clip, **self._made_by}
        if candidate.engine not in (None, "pyav"):
            parts["engine"] = candidate.engine
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _row(self, source: Source, candidate: Candidate) -> dict[str, Any]:
        reason = candidate.reason
        if candidate.clip_id in self._seen:
            reason = "duplicate"
        elif candidate.clip_id:
            self._seen.add(candidate.clip_id)
        identity = (self.preprocess.split.by == "clip" and candidate.clip_id) or source.sha256
        return {
            "clip_id": candidate.clip_id,
            "source_sha256": source.sha256,
            "start_s": candidate.start_s,
            "reason": reason,
            "split": side(identity, self.preprocess.split, source.split),
            "caption": source.caption,
            "truth": shift(source.truth, candidate.start_s, self._seconds(candidate)),
            "key": self.key(source, candidate),
            "skew": candidate.skew,
            "padded": candidate.padded,
            "engine": candidate.engine,
            "phash": candidate.phash,
            **candidate.scores,
        }

    @cached_property
    def _made_by(self) -> dict[str, Any]:
        return {"decoder": PyAV.version, "codecs": self._codecs()}

    def _seconds(self, candidate: Candidate) -> float:
        return self.clip.seconds if candidate.frames is None else candidate.frames / self.clip.fps

    def _add_source(self, source: Source, outcome: Outcome) -> None:
        row = {"sha256": source.sha256, "name": source.name, "reason": outcome.reason, "detail": outcome.detail}
        candidates = {"places": outcome.places, "candidates": len(outcome.clips)}
        candidates |= {"fallback": outcome.facts.get("fallback")}  # why PyAV decoded it and not the engine asked for
        candidates |= {"has_sound": outcome.facts.get("has_sound")}  # None: it was refused before that was known
        self.tables.sources.append(row | candidates | {"facts": json.dumps(outcome.facts, sort_keys=True)})


class CutClips:
    """The arrays of clips that were cut, in shards or in an earlier data set. Ask in order: one shard is held open."""

    def __init__(self, workspace: WorkFolder, earlier: Earlier | None, *, with_latents: bool):
        self._workspace, self._earlier, self._with_latents = workspace, earlier, with_latents
        self._opened = lru_cache(maxsize=1)(self._open)

    def __getitem__(self, kept: Kept) -> Mapping[str, np.ndarray]:
        """By the keys of `index.PLACES`."""
        if kept.shard is None:
            assert self._earlier
            return self._earlier.arrays(kept.row["clip_id"])
        return {kind: clips[kept.number] for kind, clips in self._opened(kept.shard).items()}

    def _open(self, shard: Shard) -> dict[str, list[np.ndarray]]:
        cuts = cut_clips(self._workspace.outcomes(shard))
        arrays = {"video": self._workspace.frames(shard, cuts), "audio": self._workspace.audio(shard, cuts)}
        return arrays | (self._workspace.latents(shard, len(cuts)) if self._with_latents else {})


def write_arrays(path: Path, tables: Tables, clips: CutClips, layout: StoreLayout) -> None:
    """`clips.zarr` with the kept clips, in order; their rows are told where they lie."""
    writer = Writer(path)
    for kept in tables.kept:
        arrays = clips[kept]
        size = arrays["video"].shape[1:3]
        there = {kind: clip for kind, clip in arrays.items() if len(clip)}
        places = {kind: writer.append(layout.series(kind, size), clip) for kind, clip in there.items()}
        kept.row.update(place_columns(places))
    writer.close()


def write_tables(path: Path, tables: Tables) -> None:
    """`index.sqlite`."""
    write_index(path, NAMES, tables.clips, {"sources": tables.sources})
