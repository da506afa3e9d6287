from __future__ import annotations

import os
from pathlib import Path

import pytest

from avctl.artifact import hashes
from avctl.artifact.hashes import HashCache
from avctl.recipe.content import sha256


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that were really read."""
    found: list[bytes] = []
    monkeypatch.setattr(hashes, "sha256", lambda path: found.append(path) or sha256(path))
    return found


def test_a_file_is_read_again_only_after_a_change(tmp_path: Path, read: list[bytes]):
    file = tmp_path / "a"
    file.write_text("a")
    for text, times in (("a", 1), ("a", 1), ("b", 2)):
        if file.read_text() != text:
            file.write_text(text)
            os.utime(file, ns=(1, 1))
        with HashCache(tmp_path / "runs" / "hashes.sqlite") as cache:
            assert cache.file_hash(bytes(file), file.stat()) == sha256(file)
        assert len(read) == times


def test_a_store_that_cannot_be_written_does_without(tmp_path: Path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "file").write_text("")
    with HashCache(tmp_path / "file" / "hashes.sqlite") as cache:
        assert cache.file_hash(bytes(tmp_path / "a"), (tmp_path / "a").stat()) == sha256(tmp_path / "a")


def test_commands_share_the_cache_while_both_are_at_work(tmp_path: Path, read: list[bytes]):
    a, b = tmp_path / "a", tmp_path / "b"
    for file in (a, b):
        file.write_text(file.name)
    with HashCache(tmp_path / "hashes.sqlite") as first, HashCache(tmp_path / "hashes.sqlite") as second:
        for file, one, other in ((a, first, second), (b, second, first)):
            one.file_hash(bytes(file), file.stat())
            other.file_hash(bytes(file), file.stat())
    assert read == [bytes(a), bytes(b)]


@pytest.mark.usefixtures("no_root")
def test_a_read_only_store_keeps_the_hashes_that_it_has(tmp_path: Path, read: list[bytes]):
    store, a, b = tmp_path / "runs", tmp_path / "a", tmp_path / "b"
    for file in (a, b):
        file.write_text(file.name)
    with HashCache(store / "hashes.sqlite") as cache:
        cache.file_hash(bytes(a), a.stat())
    (store / "hashes.sqlite").chmod(0o444)
    store.chmod(0o555)
    with HashCache(store / "hashes.sqlite") as cache:
        assert [cache.file_hash(bytes(file), file.stat()) for file in (a, b)] == [sha256(a), sha256(b)]
    assert read == [bytes(a), bytes(b)]


def test_a_damaged_cache_is_done_without(tmp_path: Path):
    file, path = tmp_path / "a", tmp_path / "hashes.sqlite"
    file.write_text("a")
    with HashCache(path) as cache:
        cache.file_hash(bytes(file), file.stat())
    for data in (b"no table" * 1_000, path.read_bytes()[:4_096] + bytes(4_096)):
        path.write_bytes(data)
        with HashCache(path) as cache:
            assert cache.file_hash(bytes(file), file.stat()) == sha256(file)
