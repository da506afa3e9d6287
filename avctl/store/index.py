"""`index.sqlite`: everything about clips that is not an array. One row a candidate clip, kept or not.

Rows go in in a fixed order and the file is written by `VACUUM INTO`, so that equal rows give equal bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from avctl.files import replacing

Value = str | int | float | None

CLIPS = {
    "clip_id": "TEXT",  # sha256 of normalised frames and samples; NULL for a clip dropped before it had any
    "source_sha256": "TEXT NOT NULL",
    "start_s": "REAL NOT NULL",  # on the presentation clock of the source
    "reason": "TEXT",  # why it was dropped; NULL: kept
    "split": "TEXT NOT NULL",
    "caption": "TEXT",
    "truth": "TEXT",  # JSON; times on the clock of the clip
    "key": "TEXT",  # sha256 of source bytes, place, normalisation, decoder and codecs: another key, another clip
    "skew": "REAL",  # samples by which the sound starts after the first frame
    "phash": "TEXT",  # perceptual hash of the frame in the middle: 64 bits as hex digits
    "engine": "TEXT",  # that decoded the frames: `pyav`, or another with its version
    "padded": "INTEGER",  # samples of silence added at the ends, where the source has no sound
    "video": "TEXT",  # name of the array; NULL, like the two below, for a clip without picture
    "video_offset": "INTEGER",  # of the first frame in the array
    "frames": "INTEGER",
    "audio": "TEXT",
    "audio_offset": "INTEGER",
    "samples": "INTEGER",
    "video_latents": "TEXT",
    "video_latents_offset": "INTEGER",
    "video_latent_frames": "INTEGER",
    "audio_latents": "TEXT",
    "audio_latents_offset": "INTEGER",
    "audio_latent_frames": "INTEGER",
}
PLACES = {  # where the data of a clip lie: the columns for the name of the array, offset and length
    "video": ("video", "video_offset", "frames"),
    "audio": ("audio", "audio_offset", "samples"),
    "video_latents": ("video_latents", "video_latents_offset", "video_latent_frames"),
    "audio_latents": ("audio_latents", "audio_latents_offset", "audio_latent_frames"),
}


@dataclass(frozen=True)
class Place:
    """Where a clip lies: `length` items from `offset` on of the array `name`."""

    name: str
    offset: int
    length: int


def place_columns(places: Mapping[str, Place]) -> dict[str, Value]:
    """The columns of a clip whose data lie at `places`, by the keys of `PLACES`."""
    values = {kind: (place.name, place.offset, place.length) for kind, place in places.items()}
    return {column: value for kind in values for column, value in zip(PLACES[kind], values[kind], strict=True)}


def write_index(
    path: Path,
    scores: Sequence[str],
    clips: Iterable[Mapping[str, Value]],
    tables: Mapping[str, Sequence[Mapping[str, Value]]],
) -> None:
    """Write `clips` (columns `CLIPS` and one REAL a name in `scores`) and further tables whole, in the order given.

    The columns of a further table are the keys of its first row; a table without rows is left out.
    """
    columns = {**CLIPS, **dict.fromkeys(scores, "REAL")}
    with closing(sqlite3.connect(":memory:")) as database:
        _create(database, "clips", columns, "PRIMARY KEY (source_sha256, start_s)")
        _insert(database, "clips", list(columns), clips)
        database.execute("CREATE INDEX clips_by_id ON clips (clip_id)")
        for name, rows in tables.items():
            if rows:
                _create(database, name, dict.fromkeys(rows[0], ""), "")
                _insert(database, name, list(rows[0]), rows)
        database.commit()
        with replacing(path) as part:
            database.execute("VACUUM INTO ?", (str(part),))


@contextmanager
def open_index(path: Path) -> Iterator[sqlite3.Connection]:
    """The index for reading, rows as mappings. No lock and no journal: a finished artifact never changes."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        database.row_factory = sqlite3.Row
        yield database


def _create(database: sqlite3.Connection, table: str, columns: Mapping[str, str], constraint: str) -> None:
    parts = [f'"{name}" {kind}' for name, kind in columns.items()] + ([constraint] if constraint else [])
    database.execute(f'CREATE TABLE "{table}" ({", ".join(parts)})')


def _insert(database: sqlite3.Connection, table: str, columns: list[str], rows: Iterable[Mapping[str, Value]]) -> None:
    marks = ", ".join("?" * len(columns))
    database.executemany(
        f'INSERT INTO "{table}" VALUES ({marks})', ([row.get(name) for name in columns] for row in rows)
    )
