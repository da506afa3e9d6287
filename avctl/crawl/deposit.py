"""A file on its way into the artifact: written, hashed, sniffed and counted at once, moved in when complete.

It grows as `work/partial/<sha256 of the URL>.part` and ends as `files/<sha[:2]>/<sha256><suffix>`. What a cut
connection left may be continued from the last checkpoint: the size that is safely on disk, and the ETag it belongs to.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from avctl.crawl.outcome import FetchFailure
from avctl.crawl.sniff import HEAD, Kind, sniff
from avctl.files import write_text

_CHECKPOINT = 32_000_000  # bytes between two checkpoints: a second of a fast line, an hour of a slow one


class Kept(NamedTuple):
    sha256: str
    path: str  # relative to the artifact
    bytes: int
    kind: Kind


class Deposit:
    """Opens the partial file of `url` below `out`. Raises `FetchFailure` if another worker writes it."""

    def __init__(self, out: Path, url: str, max_bytes: int):
        self.out, self.max_bytes = out, max_bytes
        name = hashlib.sha256(url.encode()).hexdigest()
        self._part = out / "work" / "partial" / f"{name}.part"
        self._mark = self._part.with_suffix(".json")
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open_alone(self._part)
        self.etag: str | None = None
        self._is_moved = False
        self._begin()

    def resumable(self) -> tuple[int, str] | None:
        """Size and ETag of what an earlier try left, if it can be continued."""
        try:
            mark = json.loads(self._mark.read_text())
        except FileNotFoundError:
            return None
        return (mark["size"], mark["etag"]) if 0 < mark["size"] <= os.fstat(self._file.fileno()).st_size else None

    def resume(self, size: int, etag: str) -> None:
        """Takes over the first `size` bytes of the partial file."""
        self._begin()
        self.etag = etag
        self._file.truncate(size)
        self._file.seek(0)
        while chunk := self._file.read(1 << 20):
            self._count(chunk)
        self._checked = self.size

    def restart(self, etag: str | None) -> None:
        """Throws away the partial file; `etag` is what the new body belongs to, None if it cannot be resumed."""
        self._mark.unlink(missing_ok=True)
        self._file.truncate(0)
        self._begin()
        self.etag = etag

    def write(self, chunk: bytes) -> None:
        """Raises `FetchFailure` when the file is too large, or is seen to be no media."""
        self._count(chunk)
        self._file.write(chunk)
        if self.etag and self.size - self._checked >= _CHECKPOINT:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Makes what was written resumable, if its server gave it an ETag."""
        if self.etag and self.size:
            os.fsync(self._file.fileno())
            write_text(self._mark, json.dumps({"size": self.size, "etag": self.etag}))
            self._checked = self.size

    def finish(self) -> Kept:
        """Moves the complete file into the artifact. Raises `FetchFailure` if it is no media."""
        kind = self._kind()
        os.fsync(self._file.fileno())
        digest = self._digest.hexdigest()
        path = f"files/{digest[:2]}/{digest}{kind.suffix}"
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._part.replace(target)
        self._is_moved = True
        self._mark.unlink(missing_ok=True)
        return Kept(digest, path, self.size, kind)

    def close(self, *, keep: bool = False) -> None:
        """Ends the work on this file. What is not finished is thrown away, or kept for a later try."""
        if keep:
            self.checkpoint()
        elif not self._is_moved:
            self._mark.unlink(missing_ok=True)
            self._part.unlink(missing_ok=True)
        self._file.close()

    def _begin(self) -> None:
        self._digest, self._head, self.size, self._checked = hashlib.sha256(), b"", 0, 0

    def _count(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self.max_bytes:
            raise FetchFailure("too_large", f"more than {self.max_bytes} bytes")
        self._digest.update(chunk)
        if len(self._head) < HEAD:
            self._head += chunk[: HEAD - len(self._head)]
            if len(self._head) == HEAD:
                self._kind()

    def _kind(self) -> Kind:
        if not self.size:
            raise FetchFailure("empty", "no bytes")
        if kind := sniff(self._head):
            return kind
        raise FetchFailure("not_media", f"starts with {self._head[:16]!r}")


def _open_alone(path: Path) -> FileIO:
    """Opens and locks `path`; the lock ends with the file, or with the process."""
    while True:
        file = open(path, "a+b", buffering=0)  # noqa: SIM115 - the deposit closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise FetchFailure("in_use", "another worker writes this file", is_passing=True) from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # it was moved into the artifact between the two calls
