from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Avctl = Callable[..., subprocess.CompletedProcess[str]]
Finish = Callable[..., tuple[int, str, str]]

LEDGER = """
def crawl(job):
    import sqlite3
    db = sqlite3.connect(job.out / "ledger.sqlite")
    db.execute("CREATE TABLE files (sha256, path, url, final_url, source, licence)")
    db.execute("CREATE TABLE duplicates (url, sha256, position)")
    db.execute("INSERT INTO files VALUES ('0', 'files/0', 'https://a.example.org/x', NULL, NULL, NULL)")
    db.execute("CREATE TABLE dead (url, reason, detail, attempts)")
    db.execute("INSERT INTO dead VALUES ('https://b/x', 'timeout', 'slow', 3)")
    db.commit()
    db.close()
"""


@pytest.fixture
def made(finish: Finish) -> list[str]:
    """crawl and preprocess."""
    code, out, _ = finish(LEDGER + "def preprocess(job): (job.out / 'data').write_text('x')")
    assert code == 0
    return out.splitlines()


def rows(avctl: Avctl, *words: str) -> list[dict[str, object]]:
    return json.loads(avctl("ls", *words, "--json").stdout)["rows"]


def test_artifacts_are_listed_with_state_and_size(avctl: Avctl, made: list[str]):
    found = rows(avctl)
    assert [(row["stage"], row["artifact"], row["state"]) for row in found] == [
        ("crawl", made[0], "done"),
        ("preprocess", made[1], "done"),
    ]
    assert found[1]["size"] == "1 B"
    assert [row["artifact"] for row in rows(avctl, made[1])] == [made[1]]
    assert avctl("ls").stdout.splitlines()[1].split()[:3] == ["crawl", made[0], "done"]


def test_lineage_goes_down_to_the_crawl(avctl: Avctl, made: list[str]):
    found = rows(avctl, "--lineage", made[1])
    assert [(row["input"], row["artifact"], row["state"]) for row in found] == [
        ("preprocess", made[1], "there"),
        ("  crawl", made[0], "there"),
    ]


def test_a_changed_file_is_found_by_verify_and_leaves_with_4(avctl: Avctl, made: list[str]):
    assert avctl("ls", "--verify").returncode == 0
    (Path(made[1]) / "data").write_text("y")
    done = avctl("ls", "--verify")
    assert done.returncode == 4 and f"damaged: `{made[1]}`: `data` has changed" in done.stderr
    done = avctl("ls", "--verify", "--json")
    assert done.returncode == 4 and json.loads(done.stdout)["problems"] == [f"`{made[1]}`: `data` has changed"]


def test_a_damaged_manifest_is_listed_and_hides_nothing_else(avctl: Avctl, made: list[str]):
    (Path(made[0]) / "manifest.json").write_text("{")
    assert [row["state"] for row in rows(avctl)] == ["damaged", "done"]
    done = avctl("ls", "--verify")
    assert done.returncode == 4 and "no readable `manifest.json`" in done.stderr


def test_everything_that_came_from_a_host_is_found(avctl: Avctl, made: list[str]):
    found = rows(avctl, "--source", "example.org")
    assert [(row["artifact"], row["file"]) for row in found] == [(made[0], "files/0"), (made[1], None)]
    assert rows(avctl, "--source", "elsewhere.org") == []


def test_dead_letters_of_an_artifact_are_listed(avctl: Avctl, made: list[str]):
    assert [row["reason"] for row in rows(avctl, made[0], "--failed")] == ["timeout"]


def test_unfinished_artifacts_are_listed_with_their_error(avctl: Avctl, finish: Finish):
    finish("def crawl(job): return 1 / 0")
    found = rows(avctl, "--failed")
    assert [(row["state"], row["error"]) for row in found] == [("failed", "ZeroDivisionError: division by zero")]


def test_what_was_moved_aside_is_told_apart(avctl: Avctl, made: list[str]):
    Path(made[0]).rename(made[0] + ".1")
    assert [row["state"] for row in rows(avctl)] == ["aside", "done"]


def test_an_unknown_artifact_is_4_and_an_empty_store_is_none(avctl: Avctl, here: Path):
    assert avctl("ls", "nonsense").returncode == 4
    assert avctl("ls").stdout == "nothing\n"


def test_the_ledger_is_not_touched(avctl: Avctl, made: list[str]):
    before = (Path(made[0]) / "ledger.sqlite").read_bytes()
    rows(avctl, "--source", "example.org")
    assert (Path(made[0]) / "ledger.sqlite").read_bytes() == before
    assert sqlite3.connect(Path(made[0]) / "ledger.sqlite").execute("SELECT count(*) FROM files").fetchone() == (1,)


def test_watching_shows_what_has_come_since(avctl: Avctl, here: Path, finish: Finish):
    command = [sys.executable, "-m", "avctl", "ls", "--watch"]
    options: dict[str, Any] = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # CI may ignore it
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True, **options) as process:
        assert process.stdout and process.stdout.readline() == "nothing\n"
        finish("def crawl(job): (job.out / 'data').write_text('x')")
        table = next(line for line in process.stdout if line != "nothing\n")
        assert table.split()[:3] == ["stage", "artifact", "state"]
        assert process.stdout.readline().split()[0] == "crawl"
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert avctl("ls", "--watch", "--json").returncode == 2
