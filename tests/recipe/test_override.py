from __future__ import annotations

from pathlib import Path

import pytest

from avctl.recipe import RecipeError, load, override
from avctl.recipe.origin import values
from avctl.recipe.override import leaves
from avctl.schema import Recipe


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load(f"{recipe_file}::learned", Recipe)


def refused(recipe: Recipe, *texts: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        override(recipe, *texts)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed=7", 7),
        ("train.optim.lr=3e-4", 3e-4),
        ("train.optim.muon_lr=none", None),
        ("crawl.sources.0.path=/videos", Path("/videos")),
        ("clip.size.1=64", 64),
        ("preprocess.video_codec.recipe.train.steps=3", 3),
        ("preprocess.audio_codec.hop=160", 160),
        ("eval.metrics=onsets,av_align", ("onsets", "av_align")),
        ("crawl.exclude=example.org", ("example.org",)),
        ("sample.requests.0.guidance=2.5", 2.5),
        ("crawl.user_agent=a=b", "a=b"),
        ("export=none", None),
    ],
)
def test_a_leaf_is_set_through_sections_tuples_and_nested_recipes(recipe: Recipe, text: str, value: object):
    changed = override(recipe, text)
    leaf: object = changed
    for part in text.partition("=")[0].split("."):
        leaf = leaf[int(part)] if isinstance(leaf, tuple) else getattr(leaf, part)
    assert leaf == value
    assert override(changed, text) == changed


def test_overrides_are_applied_in_order(recipe: Recipe):
    assert override(recipe, "seed=1", "seed=2").seed == 2
    assert override(recipe, "clip.size=64,64", "clip.size.0=128").clip.size == (128, 64)


def test_overrides_are_judged_together(recipe: Recipe):
    error = refused(recipe, "clip.fps=7")
    assert error.where == "-o clip.fps=7" and "does not divide into 7 frames" in error.message
    assert override(recipe, "clip.fps=25", "clip.sample_rate=12000").clip.frames == 25


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("train.optm.lr=1", "no field `train.optm.lr`", "did you mean `train.optim.lr`?"),
        ("trian.steps=1", "no field `trian.steps`", "did you mean `train.steps`?"),
        ("train.steps=1.5", "`train.steps` must be a whole number, got `1.5`", None),
        ("train.dtype=bf16", "`train.dtype` must be 'auto', 'float32' or 'bfloat16'", "did you mean `bfloat16`?"),
        ("train.steps=0", "`TrainGenerator.steps` must be greater than 0, got 0", None),
        ("train=3", "`train` is a section, not a value", "set one of `kind`, `steps`"),
        ("train.steps", "`train.steps` is not `path=value`", "for instance"),
        ("crawl.sources.3.path=x", "no field `crawl.sources.3.path`", "`3` must be an index below 1"),
        ("preprocess.video_codec.recipe.sample.steps=3", "`preprocess.video_codec.recipe.sample` is None", "write"),
        ("preprocess.video_codec.kind=haar", "`preprocess.video_codec.kind` must be 'trained'", None),
        ("train.optim.lr=nan", "`Optim.lr` must be", None),
        ("train.steps.x=3", "no field `train.steps.x`", "did you mean `train.steps`?"),
    ],
)
def test_a_wrong_override_is_pointed_at(recipe: Recipe, text: str, message: str, hint: str | None):
    error = refused(recipe, text)
    assert error.message.startswith(message)
    assert error.where == f"-o {text}"
    assert (error.hint or "").startswith(hint or "")


def test_every_leaf_can_be_named(recipe: Recipe):
    paths = leaves(recipe)
    assert "preprocess.video_codec.recipe.crawl.sources.0.path" in paths
    assert paths == [value.path for value in values(recipe)]


def test_no_override_gives_the_recipe_itself(recipe: Recipe):
    assert override(recipe) is recipe
