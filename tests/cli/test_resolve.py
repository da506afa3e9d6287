from __future__ import annotations

from pathlib import Path

import pytest

from avctl.cli.options import Options
from avctl.cli.resolve import resolve
from avctl.errors import InputError, UsageError


def test_a_recipe_is_resolved_to_steps_with_its_overrides(recipe_file: Path):
    resolved = resolve(f"{recipe_file}::fine", Options(store=Path("runs"), overrides=("seed=4",)))
    assert resolved.recipe.seed == 4
    assert [step.stage.name for step in resolved.steps] == ["crawl", "preprocess", "train", "sample", "eval", "export"]
    assert resolved.sources == (recipe_file.absolute(),)


def test_a_stage_is_this_recipes_own_not_its_codecs(recipe_file: Path):
    resolved = resolve(f"{recipe_file}::learned", Options(store=Path("runs")))
    assert resolved.own_step("train").recipe.name == "learned"
    with pytest.raises(UsageError, match="has no section `sample`"):
        resolve(f"{recipe_file}::autoencoder", Options(store=Path("runs"))).own_step("sample")


def test_a_missing_codec_is_made_by_run(recipe_file: Path):
    resolved = resolve(f"{recipe_file}::learned", Options(store=Path("runs")))
    with pytest.raises(InputError, match="no codec artifact") as caught:
        resolved.input("codec", "0" * 12)
    assert caught.value.hint == "make it: avctl run small.py::learned"
