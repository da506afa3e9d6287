import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.crawl.deposit import Deposit
from avctl.crawl.outcome import FetchFailure

URL = "http://h/a.mp4"
Clip = Callable[[int, int], bytes]


def test_a_finished_file_lies_under_the_hash_of_its_bytes(tmp_path: Path, clip: Clip) -> None:
    deposit = Deposit(tmp_path, URL, 10_000)
    deposit.restart(None)
    for start in range(0, 5_000, 700):
        deposit.write(clip(1, 5_000)[start : start + 700])
    sha256, path, size, kind = deposit.finish()
    deposit.close()
    assert sha256 == hashlib.sha256(clip(1, 5_000)).hexdigest() and size == 5_000 and kind.suffix == ".mp4"
    assert path == f"files/{sha256[:2]}/{sha256}.mp4" and (tmp_path / path).read_bytes() == clip(1, 5_000)
    assert not list((tmp_path / "work" / "partial").iterdir())


def test_what_is_cut_off_is_continued_from_its_checkpoint(tmp_path: Path, clip: Clip) -> None:
    first = Deposit(tmp_path, URL, 10_000)
    first.restart('"v1"')
    first.write(clip(1, 5_000)[:2_000])
    first.close(keep=True)
    second = Deposit(tmp_path, URL, 10_000)
    assert second.resumable() == (2_000, '"v1"')
    second.resume(2_000, '"v1"')
    second.write(clip(1, 5_000)[2_000:])
    assert second.finish().sha256 == hashlib.sha256(clip(1, 5_000)).hexdigest()
    second.close()


def test_bytes_after_the_last_checkpoint_are_not_trusted(tmp_path: Path, clip: Clip) -> None:
    first = Deposit(tmp_path, URL, 10_000)
    first.restart('"v1"')
    first.write(clip(1, 5_000)[:2_000])
    first.checkpoint()
    first.write(b"lost in a power cut")
    first._file.close()
    second = Deposit(tmp_path, URL, 10_000)
    second.resume(*(second.resumable() or (0, "")))
    second.write(clip(1, 5_000)[2_000:])
    assert second.finish().sha256 == hashlib.sha256(clip(1, 5_000)).hexdigest()
    second.close()


def test_without_an_etag_nothing_can_be_continued(tmp_path: Path, clip: Clip) -> None:
    first = Deposit(tmp_path, URL, 10_000)
    first.restart(None)
    first.write(clip(1, 2_000))
    first.close(keep=True)
    second = Deposit(tmp_path, URL, 10_000)
    assert second.resumable() is None
    second.close()


def test_a_restart_forgets_what_was_there(tmp_path: Path, clip: Clip) -> None:
    deposit = Deposit(tmp_path, URL, 10_000)
    deposit.restart('"v1"')
    deposit.write(clip(1, 4_000))
    deposit.checkpoint()
    deposit.restart('"v2"')
    assert deposit.resumable() is None
    deposit.write(clip(2, 3_000))
    kept = deposit.finish()
    deposit.close()
    assert (tmp_path / kept.path).read_bytes() == clip(2, 3_000)


def test_two_writers_never_share_a_partial_file(tmp_path: Path, clip: Clip) -> None:
    first = Deposit(tmp_path, URL, 10_000)
    with pytest.raises(FetchFailure) as caught:
        Deposit(tmp_path, URL, 10_000)
    assert caught.value.reason == "in_use" and caught.value.is_passing
    first.close()
    Deposit(tmp_path, URL, 10_000).close()


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"", "empty"), (b"text named .mp4", "not_media"), (b"x" * 2_000, "not_media"), (b"\x00" * 20_000, "not_media")],
)
def test_a_file_that_is_no_media_never_enters_the_artifact(tmp_path: Path, body: bytes, reason: str) -> None:
    deposit = Deposit(tmp_path, URL, 100_000)
    with pytest.raises(FetchFailure) as caught:
        deposit.write(body)
        deposit.finish()
    deposit.close()
    assert caught.value.reason == reason and not caught.value.is_passing
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_byte_cap_holds_to_the_byte(tmp_path: Path, clip: Clip) -> None:
    deposit = Deposit(tmp_path, URL, 3_000)
    deposit.write(clip(1, 3_000))
    with pytest.raises(FetchFailure, match="too_large"):
        deposit.write(b"x")
    deposit.close()
