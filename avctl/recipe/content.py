"""The content hash of a file or folder that stands outside avctl's store.

A folder's hash covers every name below it and each file's bytes. What cannot be read counts as just that, so the
hash is defined for any folder: `broken` links, `loop`s, `unreadable` files, and `special` ones (sockets, pipes).
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from avctl.errors import InputError

FileHash = Callable[[bytes, os.stat_result], str]  # of a file by its absolute name


def sha256(path: Path | bytes) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def content_hash(path: Path, hash_file: FileHash = lambda path, _: sha256(path)) -> str:
    """Hex digest of a file, or of a folder and all below it. Raises InputError when there is neither."""
    absolute = os.fsencode(path.absolute())
    if path.is_dir():
        digest = hashlib.sha256()
        for name, what in _entries(absolute, b"", (os.path.realpath(absolute),), hash_file):
            digest.update(b"%d:%s=%s\n" % (len(name), name, what.encode()))
        return digest.hexdigest()
    if not path.exists():
        raise InputError(f"nothing at `{path}`, which the recipe names", "check the path; it counts from here")
    what = _file(absolute, hash_file)
    if what == "unreadable":
        raise InputError(f"`{path}`, which the recipe names, cannot be read", f"ls -l {path}")
    return what


def _entries(
    folder: bytes, prefix: bytes, above: tuple[bytes, ...], hash_file: FileHash
) -> Iterator[tuple[bytes, str]]:
    """(name from the top, what is there) in the order of names; `above` are the real folders that lead here."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError:
        yield prefix, "unreadable"
        return
    for entry in entries:
        if _is_folder(entry):
            real = os.path.realpath(entry.path)
            if real in above:
                yield prefix + entry.name, "loop"
            else:
                yield from _entries(entry.path, prefix + entry.name + b"/", (*above, real), hash_file)
        else:
            yield prefix + entry.name, _file(entry.path, hash_file)


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or to where nobody may look
        return False


def _file(path: bytes, hash_file: FileHash) -> str:
    try:
        info = os.stat(path)
        return hash_file(path, info) if stat.S_ISREG(info.st_mode) else "special"
    except FileNotFoundError:
        return "broken"
    except PermissionError:
        return "unreadable"
    except OSError as error:
        if error.errno == 40:  # ELOOP: a link that leads to itself
            return "loop"
        raise
