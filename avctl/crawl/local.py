"""Local files: copied into the artifact under the same checks as fetched ones. The source is only read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from avctl.crawl.deposit import Deposit
from avctl.crawl.outcome import FetchFailure, Stored
from avctl.crawl.url import local_path


def copy_local(url: str, out: Path, max_bytes: int) -> Stored:
    """Copies the file behind a `file:` URL. Raises `FetchFailure`: missing, unreadable, changed, ..."""
    deposit = Deposit(out, url, max_bytes)
    try:
        deposit.restart(etag=None)
        _copy(local_path(url), deposit)
        sha256, path, size, kind = deposit.finish()
        return Stored(sha256, path, size, kind.media_type, url, "local")
    finally:
        deposit.close()


def open_regular(path: Path) -> int:
    """A descriptor for reading `path`, if it is a regular file; a pipe or device is never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        raise FetchFailure("missing", "no such file") from None
    except OSError as error:
        raise FetchFailure("unreadable", error.strerror or type(error).__name__) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FetchFailure("not_a_file", "a folder, pipe, socket or device")
    return descriptor


def _copy(path: Path, deposit: Deposit) -> None:
    with open(open_regular(path), "rb", buffering=0) as source:
        before = os.fstat(source.fileno())
        while chunk := _read(source.fileno()):
            deposit.write(chunk)
        after = os.fstat(source.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FetchFailure("changed", "the file changed while it was read", is_passing=True)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 20)
    except OSError as error:
        raise FetchFailure("unreadable", error.strerror or type(error).__name__, is_passing=True) from error
