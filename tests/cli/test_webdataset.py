"""The command writes tars of a finished data set, and refuses what it cannot do before it begins."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from avctl.artifact import manifest
from avctl.recipe.snapshot import freeze
from avctl.schema import Recipe

Avctl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def artifact(here: Path, tiny: Recipe, tiny_store: Path) -> Path:
    """The data set of `tiny`, as the command line would have left it."""
    folder = here / "runs" / "preprocess" / "tiny-0123456789ab"
    shutil.copytree(tiny_store, folder)
    freeze(tiny, [], folder)
    write_manifest(folder, "preprocess")
    return folder


def write_manifest(folder: Path, stage: str) -> None:
    made = manifest.Manifest(stage, "tiny", "0123456789ab", 1, "done")
    (folder / manifest.NAME).write_text(json.dumps(asdict(made)))


def test_tars_are_written_and_the_folder_is_printed(avctl: Avctl, artifact: Path) -> None:
    made = avctl("webdataset", "0123456789ab", "out", "--split", "train")
    assert (made.returncode, made.stdout) == (0, "out\n")
    assert [path.name for path in Path("out").iterdir()] == ["train-00000.tar"]
    told = avctl("webdataset", artifact, "all", "--json").stdout
    assert [Path(tar).name for tar in json.loads(told)["tars"]] == ["test-00000.tar", "train-00000.tar"]


def test_what_cannot_be_done_is_refused_before_anything_is_written(avctl: Avctl, artifact: Path) -> None:
    Path("full").mkdir()
    Path("full", "file").touch()
    for words, code, message in (
        (("nothing", "out"), 4, "no artifact `nothing`"),
        ((artifact, "full"), 2, "`full` is not empty"),
        ((artifact, "out", "--split", "unseen"), 4, "no clips of split `unseen`"),
    ):
        refused = avctl("webdataset", *words)
        assert (refused.returncode, message in refused.stderr) == (code, True)
    write_manifest(artifact, "crawl")
    refused = avctl("webdataset", artifact, "out")
    assert (refused.returncode, "a crawl artifact, done" in refused.stderr) == (4, True)
    assert not Path("out").exists()
