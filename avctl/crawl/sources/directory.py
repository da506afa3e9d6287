"""A folder, walked in the order of its names' bytes. Whatever cannot be read is named as a dead letter, not skipped.

A file is an item if its first bytes are media, or if its name says that it should be: the second kind fails later, with
its reason. Links are followed; each real folder is walked once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from avctl.crawl.frontier import Item
from avctl.crawl.local import open_regular
from avctl.crawl.outcome import FetchFailure
from avctl.crawl.pages import names_media
from avctl.crawl.sniff import HEAD, sniff
from avctl.crawl.url import file_url
from avctl.job import InputError

_Inode = tuple[int, int]


def walk(root: Path) -> Iterator[Item]:
    """Items below `root`; the text in `clip.txt` is the caption of `clip.mp4`. Raises `InputError`."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"the source `{root}` {what}", hint="`Directory(path=...)` takes a folder of media files")
    try:
        os.scandir(root).close()
    except OSError as error:
        raise InputError(f"the source `{root}` cannot be read: {error.strerror}") from error
    return _walk(root.absolute(), f"directory:{root}", set(), ())


def _walk(folder: Path, source: str, seen: set[_Inode], above: tuple[_Inode, ...]) -> Iterator[Item]:
    try:
        here = _inode(folder.stat())
        if here in seen:
            if here in above:
                yield _refused(folder, source, "symlink_loop", "a link to a folder that holds it")
            return
        seen.add(here)
        names = sorted(os.listdir(folder), key=os.fsencode)
    except OSError as error:
        yield _refused(folder, source, "unreadable", error.strerror or type(error).__name__)
        return
    for name in names:
        path = folder / name
        if path.is_dir():
            yield from _walk(path, source, seen, (*above, here))
        elif (item := _item(path, source)) is not None:
            yield item


def _item(path: Path, source: str) -> Item | None:
    has_media_name = names_media(path.name)
    try:
        mode = path.stat().st_mode
    except OSError as error:  # a broken link, a link to itself
        reason = "missing" if isinstance(error, FileNotFoundError) else "symlink_loop"
        return _refused(path, source, reason, error.strerror or "") if has_media_name else None
    if not stat.S_ISREG(mode) and not has_media_name:
        return None
    try:
        is_media = sniff(_head(path)) is not None
    except FetchFailure as failure:
        return _refused(path, source, failure.reason, failure.detail)
    return Item(file_url(path), "", source, caption=_caption(path)) if is_media or has_media_name else None


def _head(path: Path) -> bytes:
    with open(open_regular(path), "rb", buffering=0) as file:
        try:
            return file.read(HEAD)
        except OSError as error:
            raise FetchFailure("unreadable", error.strerror or type(error).__name__) from error


def _caption(path: Path) -> str | None:
    try:
        return path.with_suffix(".txt").read_text("utf-8", "replace").strip() or None
    except (OSError, ValueError):
        return None


def _refused(path: Path, source: str, reason: str, detail: str) -> Item:
    return Item(file_url(path), "", source, refusal=(reason, detail))


def _inode(status: os.stat_result) -> _Inode:
    return status.st_dev, status.st_ino
