"""Where every file came from: `ledger.sqlite`, which is the same for the same crawl, byte for byte, and
`fetches.volatile.jsonl`, one row a request, with what differs from one crawl to the next."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from avctl.crawl.sqlite_frontier import SqliteFrontier
from avctl.files import replacing

_SCHEMA = """
CREATE TABLE files (sha256 TEXT PRIMARY KEY, path TEXT, bytes INT, media_type TEXT, url TEXT, final_url TEXT,
    source TEXT, caption TEXT, licence TEXT, split TEXT, robots TEXT, truth TEXT, position TEXT);
CREATE TABLE dead (url TEXT, reason TEXT, detail TEXT, attempts INT);
CREATE TABLE duplicates (url TEXT, sha256 TEXT, position TEXT);
"""
_HEADERS = ("content-type", "content-length", "etag", "last-modified", "server", "date", "retry-after", "location")


def write_ledger(frontier: SqliteFrontier, until: str | None, path: Path) -> set[str]:
    """Writes the results up to the position `until`; of equal files the first in source order is kept.

    Returns the paths, relative to the artifact, of the files that the ledger names.
    """
    files: dict[str, tuple] = {}
    duplicates: list[tuple[str, str, str]] = []
    for sha256, place, size, media_type, url, *rest in frontier.files(until):
        if sha256 in files:
            duplicates.append((url, sha256, rest[-1]))
        else:
            files[sha256] = (sha256, place, size, media_type, url, *rest)
    with replacing(path, is_synced=True) as part, closing(sqlite3.connect(part, isolation_level=None)) as ledger:
        ledger.executescript(_SCHEMA)
        ledger.execute("BEGIN")
        ledger.executemany(f"INSERT INTO files VALUES ({', '.join('?' * 13)})", sorted(files.values()))
        ledger.executemany("INSERT INTO dead VALUES (?, ?, ?, ?)", frontier.dead(until))
        ledger.executemany("INSERT INTO duplicates VALUES (?, ?, ?)", sorted(duplicates))
        ledger.execute("COMMIT")
    return {row[1] for row in files.values()}


class FetchLog:
    """Appends to the file `path`; a row that a crash cut off stays alone on its line."""

    def __init__(self, path: Path):
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - closed by `close`
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def entry(self, url: str, address: str) -> Iterator[Entry]:
        """One request for `address` on behalf of the item `url`; how it ended is written when the block ends."""
        entry = Entry({"url": url, "address": address, "started": datetime.now(UTC).isoformat(timespec="milliseconds")})
        start = time.perf_counter()
        try:
            yield entry
        except BaseException as error:
            entry.row["failure"] = str(error) or type(error).__name__
            raise
        finally:
            entry.row["seconds"] = round(time.perf_counter() - start, 4)
            self._file.write(json.dumps(entry.row).encode() + b"\n")


class Entry:
    def __init__(self, row: dict[str, Any]):
        self.row = row

    def answered(self, response: httpx.Response) -> None:
        self.row["status"] = response.status_code
        self.row["headers"] = {name: response.headers[name] for name in _HEADERS if name in response.headers}

    def received(self, size: int) -> None:
        self.row["bytes"] = size
