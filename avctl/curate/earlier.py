"""A data set that is made again because files were refused: what it says of the others, and their clips, are kept."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from sqlite3 import Row
from typing import Any

import numpy as np

from avctl.curate.filters import NAMES
from avctl.curate.prepare import Candidate, Outcome, Source
from avctl.curate.shards import Finished
from avctl.store.index import PLACES, open_index
from avctl.store.reader import ClipRow, ClipStore


class Earlier:
    """A finished preprocess artifact by the hash of its sources and of its clips."""

    def __init__(self, artifact: Path):
        self._store = ClipStore(artifact)
        self._clips = {row.clip_id: row for row in self._store.clips()}
        self._rows: dict[str, list[Row]] = defaultdict(list)
        with open_index(artifact / "index.sqlite") as index:
            for row in index.execute("SELECT * FROM clips ORDER BY source_sha256, start_s"):
                self._rows[row["source_sha256"]].append(row)
            self._sources = {row["sha256"]: row for row in index.execute("SELECT * FROM sources")}

    def finished(self, sources: Iterable[Source], key: Callable[[Source, Candidate], str]) -> Iterator[Finished]:
        """Those of the sources that were not refused, and whose clips would have the same keys now."""
        for source in sources:
            row = self._sources.get(source.sha256)
            if row is None or row["reason"]:
                continue
            clips = self._rows[source.sha256]
            found = [self._candidate(clip) for clip in clips]
            if all(key(source, candidate) == clip["key"] for candidate, clip in zip(found, clips, strict=True)):
                yield Finished(source, Outcome(facts=json.loads(row["facts"]), places=row["places"], clips=found))

    def arrays(self, clip_id: str) -> Mapping[str, np.ndarray]:
        """The arrays of a clip, by the keys of `index.PLACES`. DamagedStore where a checksum does not match."""
        row = self._clips[clip_id]
        places = {kind: getattr(row, kind) for kind in PLACES}
        return {kind: self._store.read(place) for kind, place in places.items() if place}

    def _candidate(self, row: Row) -> Candidate:
        scores = {name: row[name] for name in NAMES}
        if row["clip_id"] is None:
            return Candidate(row["start_s"], scores, row["reason"])
        cut = self._clips[row["clip_id"]]  # of equal clips, the one that is stored
        return Candidate(
            row["start_s"],
            scores,
            clip_id=row["clip_id"],
            skew=row["skew"],
            padded=row["padded"],
            engine=row["engine"],
            phash=row["phash"],
            **self._shape(cut),
        )

    def _shape(self, cut: ClipRow) -> dict[str, Any]:
        assert cut.video
        frames, height, width, _ = self._store.shape(cut.video)
        return {"frames": frames, "samples": cut.audio.length if cut.audio else 0, "size": (height, width)}
