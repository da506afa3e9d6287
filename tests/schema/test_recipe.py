from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.recipe import load, replace
from avctl.schema import Clip, FrameAutoencoder, Recipe, TrainAutoencoder

Refusal = Callable[[Callable[[], object]], str]


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load(recipe_file, Recipe)


def test_a_model_is_trained_by_its_own_kind_of_training(refusal: Refusal, recipe: Recipe):
    assert replace(recipe, model=FrameAutoencoder(), train=TrainAutoencoder(steps=1, batch=1)).model
    for changes in ({"train": TrainAutoencoder(steps=1, batch=1)}, {"model": None}):
        assert refusal(lambda changes=changes: replace(recipe, **changes)).startswith("`Recipe.train`")


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a/b", "../a", "ä"])
def test_a_name_is_fit_for_a_folder(refusal: Refusal, name: str):
    clip = Clip(seconds=1.0, size=(32, 32))
    assert refusal(lambda: Recipe(name=name, clip=clip)).startswith("`Recipe.name` must match")


def test_a_recipe_of_nothing_but_a_clip_is_one():
    assert Recipe(name="a", clip=Clip(seconds=1.0, size=(32, 32))).crawl is None


def test_plain_data_and_back(recipe: Recipe):
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
