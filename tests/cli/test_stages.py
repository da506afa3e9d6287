"""The commands with the real stages, where a stage is quick enough."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from avctl.artifact import manifest

Avctl = Callable[..., CompletedProcess[str]]


@pytest.fixture
def videos(recipe_file: Path) -> Path:
    """A source of one small media file."""
    with wave.open("videos/tone.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(bytes(16_000))
    return Path("videos")


def test_a_stage_prints_its_artifact_and_nothing_else(process: Avctl, videos: Path):
    done = process("crawl", "small.py")
    assert done.returncode == 0, done.stderr
    (path,) = done.stdout.splitlines()
    made = manifest.read(Path(path))
    assert made.state == "done" and made.argv[1:] == ["crawl", "small.py"]
    assert any(name.endswith(".wav") for name in made.files)
    again = process("crawl", "small.py")
    assert again.stdout == done.stdout and "is done" in again.stderr


def test_the_store_may_come_from_the_environment(process: Avctl, videos: Path):
    done = process("crawl", "small.py", env={"AVCTL_STORE": "elsewhere"})
    assert done.stdout.startswith("elsewhere/crawl/small-")


def test_progress_is_json_lines_and_the_result_one_object(process: Avctl, videos: Path):
    done = process("crawl", "small.py", "--json")
    result = json.loads(done.stdout)
    assert [row["stage"] for row in result["artifacts"]] == ["crawl"]
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events[0] == "begin" and events[-1] == "end" and "progress" in events


def test_a_new_file_in_the_source_is_another_crawl(process: Avctl, videos: Path):
    first = process("crawl", "small.py").stdout
    (videos / "more.wav").write_bytes((videos / "tone.wav").read_bytes() + b"\0\0")
    assert process("crawl", "small.py").stdout != first


def test_a_dry_run_says_what_run_would_make(avctl: Avctl, recipe_file: Path):
    done = avctl("run", "small.py::learned", "-n")
    assert done.returncode == 0 and done.stdout == ""
    stages = [line.split()[2] for line in done.stderr.splitlines()]
    assert stages == ["crawl", "preprocess", "train", "preprocess", "train", "sample", "eval", "export"]
    planned = json.loads(avctl("run", "small.py::learned", "-n", "--json").stdout)["planned"]
    assert {row["would"] for row in planned} == {"make"}


def test_a_stage_whose_input_has_no_section_is_refused(avctl: Avctl, recipe_file: Path):
    recipe_file.write_text(recipe_file.read_text() + "\nloose = replace(fine, name='loose', crawl=None)\n")
    done = avctl("preprocess", "small.py::loose")
    assert done.returncode == 2 and "`preprocess` needs a crawl, and `small.py::loose` has no section" in done.stderr


def test_a_trial_is_another_artifact_than_the_whole(avctl: Avctl, recipe_file: Path):
    def fingerprint(*words: str) -> str:
        planned = json.loads(avctl(*words, "small.py", "-n", "--json").stdout)["planned"]
        return {row["stage"]: row["fingerprint"] for row in planned}["preprocess"]

    trial = fingerprint("preprocess", "--max-samples", "3")
    assert trial == fingerprint("run", "--max-samples", "3") == fingerprint("run", "-o", "preprocess.max_samples=3")
    assert trial != fingerprint("preprocess") and trial != fingerprint("preprocess", "--max-samples", "4")


def test_a_trial_is_refused_where_nothing_is_preprocessed(avctl: Avctl, recipe_file: Path):
    for words in (("train", "small.py", "--max-samples", "3"), ("preprocess", "small.py", "--max-samples", "0")):
        done = avctl(*words)
        assert done.returncode == 2 and "--max-samples" in done.stderr
