"""Which items an artifact gave up, each with its reason, and where the files of a crawl came from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TABLES = {"ledger.sqlite": "dead", "index.sqlite": "quarantine"}


def dead_letters(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a crawl's `dead` or a preprocess artifact's `quarantine` table, as they are."""
    for name, table in _TABLES.items():
        yield from _rows(folder / name, f"SELECT * FROM {table}")


def files_from(folder: Path, source: str) -> list[dict[str, Any]]:
    """The files of a crawl that came from a host, or from URLs (or paths) that begin with `source`."""
    columns = ("url", "final_url", "source", "path", "sha256", "licence")
    rows = _rows(folder / "ledger.sqlite", f"SELECT {', '.join(columns)} FROM files ORDER BY url")
    return [row for row in rows if any(_is_from(str(row[key] or ""), source) for key in columns[:3])]


def _is_from(url: str, source: str) -> bool:
    host = urlsplit(url).hostname or ""
    return url.startswith(source) if "/" in source else host == source or host.endswith(f".{source}")


def _rows(path: Path, query: str) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        db.row_factory = sqlite3.Row
        yield from map(dict, db.execute(query))
    finally:
        db.close()
