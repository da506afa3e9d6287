from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from avctl.recipe import RecipeError, load, override
from avctl.recipe.load import read
from avctl.recipe.snapshot import freeze, thaw, to_yaml
from avctl.schema import Recipe


def test_a_frozen_recipe_is_plain_data_and_thaws_to_its_equal(recipe_file: Path, here: Path):
    recipe = override(
        load(f"{recipe_file}::learned", Recipe),
        "sample.requests.0.guidance=2",
        "sample.negative_prompt=1e-4: [no]",
        "train.optim.lr=1e-05",
    )
    freeze(recipe, (), here)
    assert thaw(here / "recipe.yaml", Recipe) == recipe
    data = yaml.safe_load((here / "recipe.yaml").read_text())
    assert data["preprocess"]["video_codec"]["recipe"]["train"]["steps"] == 2
    assert to_yaml(thaw(here / "recipe.yaml", Recipe)) == to_yaml(recipe)


def test_the_sources_are_kept_as_they_lay(recipe_file: Path, here: Path):
    (here / "deep").mkdir()
    (here / "deep" / "mine.py").write_text("from recipes.small import fine as recipe\n")
    (here / "recipes").symlink_to(here)
    loaded = read("deep/mine.py", Recipe)
    (here / "out").mkdir()
    freeze(loaded.recipe, loaded.sources, here / "out")
    kept = [str(path.relative_to(here / "out" / "recipe")) for path in (here / "out" / "recipe").rglob("*.py")]
    assert sorted(kept) == ["deep/mine.py", "recipes/small.py"]


@pytest.mark.parametrize("text", ["name: [", "3", "name: a\nclip: {seconds: 1.0}\n", "nmae: a", "x: 2026-01-01"])
def test_what_is_no_frozen_recipe_is_refused_by_name(here: Path, text: str):
    (here / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        thaw(here / "recipe.yaml", Recipe)
    assert all(str(problem.where).endswith("recipe.yaml") for problem in caught.value.problems)
