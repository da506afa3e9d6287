"""A cache of file hashes by (path, size, mtime, inode), so that a big folder of videos is not read at every command."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from avctl.recipe.content import sha256


class HashCache:
    """An SQLite table beside the artifacts. It can be deleted at any time; a read-only store does without."""

    def __init__(self, path: Path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = _open(os.fspath(path))
        except (OSError, sqlite3.OperationalError):
            self._db = _open(":memory:")

    def file_hash(self, path: bytes, info: os.stat_result) -> str:
        """SHA-256 of the file of this absolute name, from the cache if nothing about it has changed. Raises OSError."""
        state = (info.st_size, info.st_mtime_ns, info.st_ino)
        row = self._db.execute("SELECT size, mtime_ns, inode, sha256 FROM hashes WHERE path = ?", (path,)).fetchone()
        if row and row[:3] == state:
            return row[3]
        found = sha256(path)
        self._db.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", (path, *state, found))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._db.commit()
        finally:
            self._db.close()


def _open(name: str) -> sqlite3.Connection:
    db = sqlite3.connect(name, timeout=60)
    columns = "path BLOB PRIMARY KEY, size INT, mtime_ns INT, inode INT, sha256 TEXT"
    db.execute(f"CREATE TABLE IF NOT EXISTS hashes ({columns}) WITHOUT ROWID")
    return db
