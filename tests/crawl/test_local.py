import os
from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.crawl.local import copy_local, open_regular
from avctl.crawl.outcome import FetchFailure
from avctl.crawl.url import file_url

Clip = Callable[[int, int], bytes]


def test_a_copy_leaves_its_source_alone(tmp_path: Path, clip: Clip) -> None:
    source = tmp_path / "a b\n雪.mp4"
    source.write_bytes(clip(1, 5_000))
    source.chmod(0o444)
    before = source.stat()
    stored = copy_local(file_url(source), tmp_path / "out", 10_000)
    copy = tmp_path / "out" / stored.path
    assert copy.read_bytes() == clip(1, 5_000) and copy.stat().st_ino != before.st_ino
    assert (source.stat().st_mtime_ns, source.stat().st_size) == (before.st_mtime_ns, before.st_size)
    assert (stored.media_type, stored.robots, stored.bytes) == ("video/mp4", "local", 5_000)


def test_each_thing_that_is_no_readable_file_has_its_reason(tmp_path: Path, clip: Clip) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
    (tmp_path / "text.mp4").write_text("not a film")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "large.mp4").write_bytes(clip(1, 20_000))
    expected = {
        "pipe.mp4": "not_a_file", "folder.mp4": "not_a_file", "self.mp4": "unreadable", "gone.mp4": "missing",
        "text.mp4": "not_media", "empty.mp4": "empty", "large.mp4": "too_large",
    }  # fmt: skip
    for name, reason in expected.items():
        with pytest.raises(FetchFailure) as caught:
            copy_local(file_url(tmp_path / name), tmp_path / "out", 10_000)
        assert (name, caught.value.reason) == (name, reason)
    assert not (tmp_path / "out" / "files").exists()


@pytest.mark.usefixtures("no_root")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch(mode=0)
    with pytest.raises(FetchFailure) as caught:
        open_regular(tmp_path / "a.mp4")
    assert caught.value.reason == "unreadable"
