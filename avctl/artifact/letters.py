"""Which items an artifact gave up, each with its reason, and where the files of a crawl came from."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_LETTERS = {
    "ledger.sqlite": "SELECT * FROM dead",
    "index.sqlite": "SELECT sha256, name, reason, detail FROM sources WHERE reason IS NOT NULL",
}


def dead_letters(folder: Path) -> Iterator[dict[str, Any]]:
    """What a crawl could not get, or the files that preprocess refused, each with its reason."""
    for name, query in _LETTERS.items():
        yield from _rows(folder / name, query)


def files_from(folder: Path, source: str) -> list[dict[str, Any]]:
    """The files of a crawl that came from a host, from URLs that begin with `source`, or from below that path; also
    where another source gave the same bytes first."""
    origins = ("url", "final_url", "source")
    query = f"""
        SELECT {", ".join(origins)}, path, sha256, licence FROM files
        UNION ALL
        SELECT d.url, NULL, NULL, f.path, f.sha256, f.licence FROM duplicates d JOIN files f USING (sha256)
        ORDER BY 1
    """
    rows = _rows(folder / "ledger.sqlite", query)
    return [row for row in rows if any(_is_from(str(row[key] or ""), source) for key in origins)]


def _is_from(url: str, source: str) -> bool:
    if "://" in source:
        return url.startswith(source)
    if "/" in source:
        return f"{url.rstrip('/')}/".startswith(f"{Path(source).absolute().as_uri()}/")
    host = urlsplit(url).hostname or ""
    return host == source or host.endswith(f".{source}")


def _rows(path: Path, query: str) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        db.row_factory = sqlite3.Row
        yield from map(dict, db.execute(query))
    finally:
        db.close()
