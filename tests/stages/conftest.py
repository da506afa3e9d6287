"""Crawls that were never crawled, for tests of the stages behind."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avctl.media.mux import write_mp4


@pytest.fixture(scope="session")
def write_source() -> Callable[..., Any]:
    def write(path: Path, seed: int, seconds: float = 0.5, loudness: float = 0.3) -> None:
        """A ramp of a colour of its own with a dot that moves, and a tone of its own."""
        colour = np.random.default_rng(seed).uniform(2, 8, 3)
        ramp = (40 + np.arange(16)[None, :, None] * colour).astype(np.uint8)
        frames = np.tile(ramp, (round(seconds * 16), 16, 1, 1))
        for index, frame in enumerate(frames):
            frame[4:6, index : index + 2] = 255
        t = np.arange(round(seconds * 16_000)) / 16_000
        tone = loudness * np.sin(2 * np.pi * (200 + 50 * seed) * t)[:, None]
        write_mp4(path, frames, tone.astype(np.float32), 16, 16_000)

    return write


@pytest.fixture(scope="session")
def write_crawl() -> Callable[..., Any]:
    def write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
        """A crawl artifact of the files named by the rows' `file`."""
        columns = ["sha256", "path", "bytes", "media_type", "url", "final_url", "source", "caption", "licence", "split"]
        columns += ["robots", "truth"]
        folder.mkdir()
        with closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger:
            ledger.execute(f"CREATE TABLE files ({', '.join(columns)})")
            ledger.execute("CREATE TABLE dead (url, reason, detail, attempts)")
            ledger.execute("CREATE TABLE duplicates (url, sha256, position)")
            for row in rows:
                content = row["file"].read_bytes()
                sha256 = hashlib.sha256(content).hexdigest()
                path = f"files/{sha256[:2]}/{sha256}.mp4"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
                values = {"sha256": sha256, "path": path, "bytes": len(content), "url": row["file"].name, **row}
                ledger.execute(f"INSERT INTO files VALUES ({', '.join('?' * 12)})", [values.get(c) for c in columns])
            ledger.commit()
        return folder

    return write
