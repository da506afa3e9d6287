from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Avctl = Callable[..., subprocess.CompletedProcess[str]]
Finish = Callable[..., tuple[int, str, str]]


def test_a_plan_lists_every_artifact_and_every_value(avctl: Avctl, recipe_file: Path):
    found = json.loads(avctl("plan", "small.py::learned", "-o", "seed=3", "--json").stdout)
    assert [step["stage"] for step in found["steps"]][:3] == ["crawl", "preprocess", "train"]
    assert {step["state"] for step in found["steps"]} == {"absent"}
    values = {row["value"]: row for row in found["values"]}
    assert values["seed"] == {"value": "seed", "is": 3, "from": "-o seed=3"}
    assert values["clip.channels"]["from"] == "default"
    assert values["clip.seconds"]["from"].startswith("small.py:")
    assert values["preprocess.video_codec.recipe.train.steps"]["is"] == 2
    assert not Path("runs/crawl").exists()


def test_two_recipes_are_compared_by_values_and_artifacts(avctl: Avctl, recipe_file: Path):
    done = avctl("plan", "small.py", "--like", "small.py::fine", "--json")
    found = json.loads(done.stdout)
    shared = {step["stage"]: step["shared"] for step in found["steps"]}
    assert shared["crawl"] is True and shared["preprocess"] is False
    differing = {row["value"]: (row["is"], row["there"]) for row in found["values"]}
    assert differing["name"] == ("small", "fine")
    assert differing["preprocess.video_codec.down"] == (4, 2)
    assert "clip.fps" not in differing


def test_a_recipe_like_itself_has_no_difference(avctl: Avctl, recipe_file: Path):
    done = avctl("plan", recipe_file, "--like", recipe_file)
    assert done.stdout.endswith("no difference\n") and "shared" in done.stdout.splitlines()[0]


def test_overrides_are_compared_with_the_recipe_as_it_stands(avctl: Avctl, recipe_file: Path):
    done = avctl("plan", recipe_file, "--like", recipe_file, "-o", "train.batch=7")
    assert done.stdout.splitlines()[-1].split() == ["train.batch", "7", "-o", "train.batch=7", "1"]


def test_plan_says_what_run_would_do(avctl: Avctl, finish: Finish):
    def would(command: str, *words: str) -> list[str]:
        said = json.loads(avctl(command, "small.py::fine", *words, "--json").stdout)
        return [row["would"] for row in said["steps" if command == "plan" else "planned"]][:3]

    assert would("plan") == would("run", "--dry-run") == ["make", "make", "make"]
    crawl = Path(finish()[1].splitlines()[0])
    assert would("plan") == would("run", "--dry-run") == ["nothing", "nothing", "make"]
    crawl.rename(crawl.with_name("aside"))
    finish("def crawl(job): (job.out / 'data').write_text('new')\ndef preprocess(job): raise ValueError")
    assert would("plan") == would("run", "--dry-run") == ["nothing", "make again", "make"]
