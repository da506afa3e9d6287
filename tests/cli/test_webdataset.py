"""The command writes tars of a finished data set, and refuses what it cannot do before it begins."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
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
    manifest.Manifest(stage, "tiny", "0123456789ab", 1, "done").with_files(folder).write(folder)


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
    assert (refused.returncode, "a crawl artifact" in refused.stderr) == (4, True)
    assert not Path("out").exists()


def test_a_damaged_index_is_said_before_it_is_read(avctl: Avctl, artifact: Path) -> None:
    flip_a_byte(artifact / "index.sqlite")
    refused = avctl("webdataset", artifact, "out")
    assert (refused.returncode, "`index.sqlite` has changed" in refused.stderr) == (4, True)
    assert not Path("out").exists()


def test_an_error_on_the_way_leaves_the_terminal_as_it_was(
    avctl: Avctl, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_a_byte(next(path for path in (artifact / "clips.zarr").rglob("c/**/*") if path.is_file()))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    refused = avctl("webdataset", artifact, "out")
    shown, _, after = refused.stderr.partition("error")
    assert refused.returncode == 4 and "is damaged" in after
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor, hidden and shown again


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[20] ^= 4
    path.write_bytes(data)
