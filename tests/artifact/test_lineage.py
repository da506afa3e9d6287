from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.artifact import Store, manifest
from avctl.artifact.lineage import ancestry, artifact, descendants
from avctl.errors import InputError
from avctl.pipeline import Step, steps
from avctl.recipe import load
from avctl.schema import Recipe

Make = Callable[..., Path]


@pytest.fixture
def chain(recipe_file: Path, make: Make) -> list[Path]:
    """crawl -> preprocess -> train."""
    made: dict[str, Path] = {}
    for step in steps(load(recipe_file, Recipe))[:3]:
        inputs = {name: row(made[name]) for name in step.inputs}
        made[step.stage.name] = make(step, inputs, data=step.stage.name)
    return list(made.values())


def row(folder: Path) -> dict[str, str]:
    found = manifest.read(folder)
    return {"stage": found.stage, "fingerprint": found.fingerprint, "digest": found.digest or "", "path": str(folder)}


def test_an_artifact_is_followed_to_its_sources(store: Store, chain: list[Path]):
    found = [(link.role, link.folder, link.depth) for link in ancestry(store, chain[2])]
    assert found == [("train", chain[2], 0), ("preprocess", chain[1], 1), ("crawl", chain[0], 2)]


def test_what_is_gone_or_has_changed_is_said(store: Store, chain: list[Path], make: Make, step: Step):
    chain[0].rename(chain[0].with_name("gone"))
    assert [link.folder for link in ancestry(store, chain[2])] == [chain[2], chain[1], None]
    make(step, data="other")
    assert [link.has_changed for link in ancestry(store, chain[2])] == [False, False, True]


def test_what_lies_in_another_store_is_found_where_it_was_read(store: Store, chain: list[Path], tmp_path: Path):
    other = Store(tmp_path / "elsewhere")
    assert [link.folder for link in ancestry(other, chain[2])] == [chain[2], chain[1], chain[0]]


def test_descendants_are_found_through_every_generation(store: Store, chain: list[Path]):
    digest = manifest.read(chain[0]).digest or ""
    assert descendants(store, {digest}) == chain[1:]
    assert descendants(store, {"unknown"}) == []


def test_an_artifact_is_named_by_path_folder_or_fingerprint(store: Store, chain: list[Path]):
    fingerprint = manifest.read(chain[1]).fingerprint
    assert artifact(store, str(chain[1])) == artifact(store, chain[1].name) == artifact(store, fingerprint) == chain[1]
    with pytest.raises(InputError, match="no artifact"):
        artifact(store, "nonsense")
