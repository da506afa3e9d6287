"""Rows come back as they went in, and equal rows are equal bytes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from avctl.store.index import open_index, write_index

ROW = {"source_sha256": "s", "start_s": 0.5, "split": "train", "caption": "a\nb 猫", "blur": 2.5}


def test_rows_and_further_tables_come_back(tmp_path: Path) -> None:
    tables = {"quarantine": [{"name": "x", "reason": "empty"}], "nothing": []}
    write_index(tmp_path / "index.sqlite", ["blur", "snr"], [ROW], tables)
    with open_index(tmp_path / "index.sqlite") as index:
        (row,) = index.execute("SELECT * FROM clips").fetchall()
        assert {name: row[name] for name in ROW} == ROW
        assert row["snr"] is None
        assert index.execute("SELECT reason FROM quarantine").fetchone()[0] == "empty"
        names = {name for (name,) in index.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {"clips", "quarantine"}


def test_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        rows = ({**ROW, "start_s": float(i)} for i in range(500))
        write_index(tmp_path / name, ["blur"], rows, {})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_two_clips_at_one_place_of_one_source_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        write_index(tmp_path / "index.sqlite", ["blur"], [ROW, ROW], {})
    assert list(tmp_path.iterdir()) == []


def test_an_index_is_opened_without_leaving_files_beside_it(tmp_path: Path) -> None:
    write_index(tmp_path / "index.sqlite", ["blur"], [ROW], {})
    (tmp_path / "index.sqlite").chmod(0o444)
    with open_index(tmp_path / "index.sqlite") as index:
        index.execute("SELECT count(*) FROM clips").fetchone()
        assert [path.name for path in tmp_path.iterdir()] == ["index.sqlite"]
        with pytest.raises(sqlite3.OperationalError):
            index.execute("DELETE FROM clips")
