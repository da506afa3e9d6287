"""A cache of file hashes by (path, size, mtime, inode), so that a big folder of videos is not read at every command."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from avctl.recipe.content import sha256


class HashCache:
    """An SQLite table beside the artifacts, which commands share. It can be deleted at any time; a read-only store does
    without what is not in it yet."""

    def __init__(self, path: Path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = _open(os.fspath(path))
        except (OSError, sqlite3.DatabaseError):
            self._db = _open(":memory:")

    def file_hash(self, path: bytes, info: os.stat_result) -> str:
        """SHA-256 of the file of this absolute name, from the cache if nothing about it has changed. Raises OSError."""
        state = (info.st_size, info.st_mtime_ns, info.st_ino)
        row = self._row("SELECT size, mtime_ns, inode, sha256 FROM hashes WHERE path = ?", path)
        if row and row[:3] == state:
            return row[3]
        found = sha256(path)
        self._row("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", path, *state, found)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._db.close()

    def _row(self, statement: str, *values: Any) -> tuple | None:
        """What it gives, if anything; nothing where the table is read-only, locked for long, or damaged."""
        with suppress(sqlite3.DatabaseError):
            return self._db.execute(statement, values).fetchone()


def _open(name: str) -> sqlite3.Connection:
    db = sqlite3.connect(name, isolation_level=None)  # every hash is kept at once, and nobody waits for a whole folder
    db.execute("PRAGMA synchronous = OFF")  # ten thousand commits in 1 s instead of 8; a power cut may cost the cache
    columns = "path BLOB PRIMARY KEY, size INT, mtime_ns INT, inode INT, sha256 TEXT"
    db.execute(f"CREATE TABLE IF NOT EXISTS hashes ({columns}) WITHOUT ROWID")
    return db
