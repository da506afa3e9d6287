import os
from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.crawl.sources.directory import walk
from avctl.crawl.url import local_path
from avctl.job import InputError

MEDIA = b"\x00\x00\x00\x18ftypisom" + b"\x00" * 100


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, body: bytes = MEDIA) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return path

    return make


def test_files_come_in_the_order_of_their_names_bytes_at_every_depth(tmp_path: Path, put: Callable[..., Path]) -> None:
    names = ["B.mp4", "a b.mp4", "a/z.mp4", "a/é.mp4", "a\nb.mp4", "b#1?.mp4", "c/d/e.mp4", "雪.mp4"]
    for name in reversed(names):
        put(name)
    found = [local_path(item.url).relative_to(tmp_path).as_posix() for item in walk(tmp_path)]
    assert found == ["B.mp4", "a/z.mp4", "a/é.mp4", "a\nb.mp4", "a b.mp4", "b#1?.mp4", "c/d/e.mp4", "雪.mp4"]


def test_what_is_media_or_claims_to_be_is_an_item(tmp_path: Path, put: Callable[..., Path]) -> None:
    for name in ("film", "film.txt.bin", "real.mp4"):
        put(name)
    put("text.mp4", b"once upon a time")
    put("empty.webm", b"")
    put("notes.txt", b"not media")
    put("Thumbs.db", b"\x00\x01")
    found = [(local_path(item.url).name, item.refusal) for item in walk(tmp_path)]
    assert [name for name, _ in found] == ["empty.webm", "film", "film.txt.bin", "real.mp4", "text.mp4"]
    assert not any(refusal for _, refusal in found)


def test_a_text_beside_a_clip_is_its_caption(tmp_path: Path, put: Callable[..., Path]) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"):
        put(name)
    put("a.txt", b" a dog barks \n")
    put("b.txt", b"caf\xe9")
    put("c.txt", b"\n")
    assert [item.caption for item in walk(tmp_path)] == ["a dog barks", "caf\ufffd", None, None]


def test_a_symlink_loop_is_named_and_ends(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("films/a.mp4")
    (tmp_path / "films" / "again").symlink_to(tmp_path)
    (tmp_path / "films" / "self").symlink_to(tmp_path / "films" / "self")
    (tmp_path / "films" / "self.mp4").symlink_to(tmp_path / "films" / "self.mp4")
    (tmp_path / "films" / "broken.mp4").symlink_to("nowhere.mp4")
    found = {local_path(item.url).name: item.refusal and item.refusal[0] for item in walk(tmp_path)}
    assert found == {"a.mp4": None, "again": "symlink_loop", "self.mp4": "symlink_loop", "broken.mp4": "missing"}


def test_links_are_followed_and_each_folder_is_walked_once(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("elsewhere/a.mp4")
    put("films/own.mp4")
    (tmp_path / "films" / "one").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "films" / "two").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "films" / "link.mp4").symlink_to(tmp_path / "elsewhere" / "a.mp4")
    found = [local_path(item.url).relative_to(tmp_path / "films").as_posix() for item in walk(tmp_path / "films")]
    assert found == ["link.mp4", "one/a.mp4", "own.mp4"]


def test_pipes_and_sockets_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "pipe")
    assert [item.refusal and item.refusal[0] for item in walk(tmp_path)] == ["not_a_file"]


@pytest.mark.usefixtures("no_root")
def test_what_may_not_be_read_is_named(tmp_path: Path, put: Callable[..., Path]) -> None:
    put("closed.mp4").chmod(0)
    put("folder/a.mp4").parent.chmod(0)
    try:
        assert [item.refusal and item.refusal[0] for item in walk(tmp_path)] == ["unreadable", "unreadable"]
    finally:
        (tmp_path / "folder").chmod(0o755)


def test_a_source_that_is_no_folder_is_the_users_mistake(tmp_path: Path, put: Callable[..., Path]) -> None:
    for path in (tmp_path / "gone", put("a.mp4")):
        with pytest.raises(InputError, match=path.name):
            walk(path)
