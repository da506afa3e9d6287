"""Files that are written whole or not at all, and what it takes for them to survive a loss of power."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = ".*.part"  # how a file is named while it is written


@contextmanager
def replacing(path: Path, *, is_synced: bool = False) -> Iterator[Path]:
    """A path beside `path`, to be written to; it takes that place when the block ends, on the disk if `is_synced`."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)  # of a run that was killed
    try:
        yield part
        if is_synced:
            sync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, is_synced: bool = False) -> None:
    """`text` as UTF-8, in the place of what was there."""
    with replacing(path, is_synced=is_synced) as part:
        part.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """A file, or the entries of a folder, are on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
