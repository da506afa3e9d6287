"""A file is there whole, or as it was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from avctl.files import replacing, write_text


def test_a_text_replaces_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    write_text(tmp_path / "a", "neu: ü", is_synced=True)
    assert (tmp_path / "a").read_text(encoding="utf-8") == "neu: ü"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as part:
        part.write_text("half of the n")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_kill_left_is_no_part_of_the_next_file(tmp_path: Path) -> None:
    (tmp_path / ".a.part").write_text("left behind, and longer")
    with replacing(tmp_path / "a") as part:
        assert not part.exists()
        part.write_text("new")
    assert (tmp_path / "a").read_text() == "new"
