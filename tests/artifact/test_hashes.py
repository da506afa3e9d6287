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
