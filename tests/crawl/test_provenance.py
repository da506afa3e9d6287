import json
import sqlite3
from pathlib import Path

import pytest

from avctl.crawl.frontier import Item
from avctl.crawl.outcome import Stored
from avctl.crawl.provenance import FetchLog, write_ledger
from avctl.crawl.sqlite_frontier import SqliteFrontier

CONTENTS = "abacad"


def crawled(path: Path, order: list[int]) -> SqliteFrontier:
    """A frontier whose items were settled in this order; item 5 failed."""
    frontier = SqliteFrontier(path, 3)
    for index in order:
        position, caption = f"0000.{index:010d}", f"clip {index}"
        frontier.enqueue([Item(f"http://h/{9 - index}", position, "test", caption=caption)])
        token = frontier.claim(1, 60)[0].token
        if index == 5:
            frontier.fail(token, "http_status", "404", None)
        else:
            sha256 = CONTENTS[index] * 64
            frontier.ack(token, Stored(sha256, f"files/{sha256}", 10, "video/mp4", f"http://h/{9 - index}", "allowed"))
    return frontier


def rows(ledger: Path, table: str) -> list[tuple]:
    with sqlite3.connect(ledger) as db:
        return db.execute(f"SELECT * FROM {table}").fetchall()


def test_of_equal_files_the_first_in_source_order_is_kept(tmp_path: Path) -> None:
    frontier = crawled(tmp_path / "f", [4, 2, 0, 1, 3, 5])
    paths = write_ledger(frontier, None, tmp_path / "ledger.sqlite")
    files = rows(tmp_path / "ledger.sqlite", "files")
    assert [(row[0][0], row[4], row[7]) for row in files] == [
        ("a", "http://h/9", "clip 0"), ("b", "http://h/8", "clip 1"), ("c", "http://h/6", "clip 3"),
    ]  # fmt: skip
    assert rows(tmp_path / "ledger.sqlite", "duplicates") == [
        ("http://h/5", "a" * 64, "0000.0000000004"), ("http://h/7", "a" * 64, "0000.0000000002"),
    ]  # fmt: skip
    assert rows(tmp_path / "ledger.sqlite", "dead") == [("http://h/4", "http_status", "404", 1)]
    assert paths == {row[1] for row in files}


def test_the_ledger_is_the_same_whatever_the_order_of_fetching(tmp_path: Path) -> None:
    orders = ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 5, 0, 4, 1, 3])
    ledgers = []
    for number, order in enumerate(orders):
        write_ledger(crawled(tmp_path / f"f{number}", order), None, tmp_path / "ledger.sqlite")
        ledgers.append((tmp_path / "ledger.sqlite").read_bytes())
    assert ledgers[0] == ledgers[1] == ledgers[2]


def test_the_ledger_ends_at_the_horizon(tmp_path: Path) -> None:
    frontier = crawled(tmp_path / "f", [0, 1, 2, 3, 4, 5])
    write_ledger(frontier, frontier.horizon(2), tmp_path / "ledger.sqlite")
    assert [row[0][0] for row in rows(tmp_path / "ledger.sqlite", "files")] == ["a", "b"]
    assert not rows(tmp_path / "ledger.sqlite", "duplicates") and not rows(tmp_path / "ledger.sqlite", "dead")


def test_a_row_cut_off_by_a_crash_stays_alone_on_its_line(tmp_path: Path) -> None:
    path = tmp_path / "fetches.volatile.jsonl"
    path.write_text('{"url": "whole"}\n{"url": "cut o')
    log = FetchLog(path)
    with pytest.raises(KeyError), log.entry("http://h/a", "http://h/a"):
        raise KeyError("x")
    log.close()
    whole, cut, added = path.read_text().splitlines()
    assert json.loads(whole) and cut == '{"url": "cut o' and json.loads(added)["failure"] == "'x'"
