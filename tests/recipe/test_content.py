from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from avctl.errors import InputError
from avctl.recipe.content import content_hash, sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "videos"
    (place / "deep").mkdir(parents=True)
    (place / "a.mp4").write_bytes(b"a")
    (place / "deep" / "b.mp4").write_bytes(b"b")
    return place


def test_a_file_is_its_bytes(folder: Path):
    assert content_hash(folder / "a.mp4") == sha256(folder / "a.mp4")


def test_where_the_folder_stands_does_not_count(folder: Path, tmp_path: Path):
    before = content_hash(folder)
    assert content_hash(folder.rename(tmp_path / "elsewhere")) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "a.mp4").write_bytes(b"A"),
        lambda f: (f / "new").write_bytes(b""),
        lambda f: (f / "a.mp4").rename(f / "c.mp4"),
        lambda f: (f / "deep" / "b.mp4").unlink(),
        lambda f: (f / "deep" / "b.mp4").rename(f / "b.mp4"),
        lambda f: (f / "gone").symlink_to("nowhere"),
    ],
)
def test_any_change_below_a_folder_changes_its_hash(folder: Path, change):
    before = content_hash(folder)
    change(folder)
    assert content_hash(folder) != before


def test_links_loops_and_special_files_have_a_defined_hash(folder: Path):
    (folder / "broken").symlink_to("nowhere")
    (folder / "self").symlink_to("self")
    for name in ("up", "again", "once more"):  # followed each time, they would be 3^40 folders
        (folder / "deep" / name).symlink_to(folder)
    (folder / "line\nbreak é \udcff".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")).touch()
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "socket"))
        assert content_hash(folder) == content_hash(folder)


def test_a_link_to_a_folder_counts_as_its_files(folder: Path, tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "c").write_text("c")
    (folder / "link").symlink_to(tmp_path / "other")
    before = content_hash(folder)
    (tmp_path / "other" / "c").write_text("d")
    assert content_hash(folder) != before


def test_an_unreadable_file_is_told_apart_but_stops_nothing(folder: Path):
    def refuse(path: bytes, info: os.stat_result) -> str:
        if path.endswith(b"a.mp4"):
            raise PermissionError
        return sha256(path)

    assert content_hash(folder, refuse) == content_hash(folder, refuse) != content_hash(folder)
    with pytest.raises(InputError, match="cannot be read"):
        content_hash(folder / "a.mp4", refuse)


def test_nothing_there_is_an_input_error(tmp_path: Path):
    with pytest.raises(InputError, match="nothing at"):
        content_hash(tmp_path / "absent")
