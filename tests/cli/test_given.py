from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Avctl = Callable[..., subprocess.CompletedProcess[str]]
Finish = Callable[..., tuple[int, str, str]]


@pytest.fixture
def crawl(finish: Finish) -> Path:
    """A finished crawl, and a preprocess artifact made from it."""
    return Path(finish()[1].splitlines()[0])


def plan(avctl: Avctl, *words: str | Path) -> dict[str, list[dict[str, str]]]:
    done = avctl("plan", *words, "--json")
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def test_an_artifact_stands_in_for_its_stage_and_renames_what_follows(avctl: Avctl, crawl: Path):
    other = ("small.py::fine", "-o", "crawl.max_files=3")
    without, given = plan(avctl, *other)["steps"], plan(avctl, *other, "--with", crawl)["steps"]
    assert without[0]["stage"] == "crawl"
    assert given[0]["stage"] == "preprocess"
    assert given[0]["artifact"] != without[1]["artifact"]
    assert given[0]["state"] == "done"  # just what the recipe without the override made


def test_the_sections_that_made_it_are_adopted_and_say_so(avctl: Avctl, crawl: Path):
    found = plan(avctl, "small.py::fine", "-o", "crawl.max_files=3", "--with", crawl)["values"]
    values = {row["value"]: row for row in found}
    assert values["crawl.max_files"] == {"value": "crawl.max_files", "is": None, "from": f"--with {crawl}"}


def test_the_lineage_of_a_given_artifact_comes_with_it(avctl: Avctl, crawl: Path):
    made = next(Path("runs/preprocess").iterdir())
    given = plan(avctl, "small.py::fine", "-o", "crawl.max_files=3", "--with", made)["steps"]
    assert given[0]["stage"] == "train"


def test_an_artifact_that_was_moved_aside_is_not_mistaken_for_its_successor(avctl: Avctl, crawl: Path):
    aside = crawl.rename(crawl.with_name(crawl.name + ".1"))
    usual, given = (plan(avctl, "small.py::fine", *words)["steps"] for words in ((), ("--with", aside)))
    assert given[0]["artifact"] not in {step["artifact"] for step in usual}


def test_an_artifact_of_another_store_can_be_given(avctl: Avctl, crawl: Path):
    given = plan(avctl, "small.py::fine", "--store", "elsewhere", "--with", crawl)["steps"]
    assert (given[0]["stage"], given[0]["state"]) == ("preprocess", "absent")


def test_what_cannot_be_used_is_refused(avctl: Avctl, crawl: Path):
    done = avctl("train", "small.py::fine", "--with", "nowhere")
    assert done.returncode == 4 and "no readable `manifest.json`" in done.stderr
    done = avctl("plan", "small.py::fine", "--with", crawl, "--with", crawl)
    assert done.returncode == 2 and "there is another crawl already" in done.stderr
    done = avctl("crawl", "small.py::fine", "--with", crawl)
    assert done.returncode == 2 and "is given by `--with`" in done.stderr
    (crawl / "data").write_text("longer than it was")
    done = avctl("plan", "small.py::fine", "--with", crawl)
    assert done.returncode == 4 and "is damaged" in done.stderr
