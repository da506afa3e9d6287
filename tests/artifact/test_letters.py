from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from avctl.artifact.letters import dead_letters, files_from
from avctl.store.index import write_index


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    db = sqlite3.connect(tmp_path / "ledger.sqlite")
    db.execute("CREATE TABLE files (sha256, path, url, final_url, source, licence)")
    for i, url in enumerate(
        ("https://a.example.org/x.mp4", "https://example.org/y.mp4", "https://notexample.org/z.mp4")
    ):
        db.execute("INSERT INTO files VALUES (?, ?, ?, NULL, NULL, 'cc0')", (str(i), f"files/{i}", url))
    url = (tmp_path / "videos & co").as_uri() + "/a.mp4"
    db.execute("INSERT INTO files VALUES ('3', 'files/3', ?, NULL, NULL, NULL)", (url,))
    db.execute("CREATE TABLE duplicates (url, sha256, position)")
    db.execute("INSERT INTO duplicates VALUES ('https://mirror.net/x.mp4', '0', '')")
    db.execute("CREATE TABLE dead (url, reason, detail, attempts)")
    db.execute("INSERT INTO dead VALUES ('https://b/x', 'timeout', '', 3)")
    db.commit()
    db.close()
    return tmp_path


def test_a_host_covers_its_subdomains_and_no_namesake(crawl: Path):
    assert [row["path"] for row in files_from(crawl, "example.org")] == ["files/0", "files/1"]


def test_a_url_is_a_prefix(crawl: Path):
    assert [row["path"] for row in files_from(crawl, "https://example.org/")] == ["files/1"]


def test_a_path_is_a_folder(crawl: Path):
    assert [row["path"] for row in files_from(crawl, str(crawl / "videos & co"))] == ["files/3"]
    assert files_from(crawl, str(crawl / "videos")) == []


def test_a_source_that_gave_the_same_bytes_later_is_found_too(crawl: Path):
    found = files_from(crawl, "mirror.net")
    assert [(row["url"], row["path"]) for row in found] == [("https://mirror.net/x.mp4", "files/0")]


def test_dead_letters_come_with_their_reason(crawl: Path):
    assert [row["reason"] for row in dead_letters(crawl)] == ["timeout"]


@pytest.mark.parametrize("reasons", [(None, "empty", None), (None, None)])
def test_files_that_preprocess_refused_are_letters(tmp_path: Path, reasons: tuple[str | None, ...]):
    rows = [{"sha256": str(k), "name": f"{k}.mp4", "reason": why, "detail": ""} for k, why in enumerate(reasons)]
    write_index(tmp_path / "index.sqlite", [], [], {"sources": rows})
    assert list(dead_letters(tmp_path)) == [row for row in rows if row["reason"]]


def test_an_artifact_without_letters_has_none(tmp_path: Path):
    assert list(dead_letters(tmp_path)) == [] and files_from(tmp_path, "x") == []
