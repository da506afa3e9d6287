from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.recipe import load, replace
from avctl.schema import (
    Clip,
    Eval,
    Export,
    FrameAutoencoder,
    Haar,
    JointDiT,
    LogMel,
    Preprocess,
    Recipe,
    Request,
    Sample,
    TrainAutoencoder,
    Trained,
)

Refusal = Callable[[Callable[[], object]], str]
CLIP = Clip(seconds=1.0, size=(32, 32), fps=8, sample_rate=8_000)


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load(recipe_file, Recipe)


def test_a_model_is_trained_by_its_own_kind_of_training(refusal: Refusal, recipe: Recipe):
    assert codec(recipe).model
    for changes in ({"train": TrainAutoencoder(steps=1, batch=1)}, {"model": None}):
        assert refusal(lambda changes=changes: replace(recipe, **changes)).startswith("`Recipe.train`")


def test_attention_in_windows_is_computed_in_one_way(refusal: Refusal, recipe: Recipe):
    assert isinstance(recipe.model, JointDiT)
    near = replace(recipe, model=replace(recipe.model, window_s=0.5))
    refused = refusal(lambda: replace(near, runtime=replace(near.runtime, attention="products")))
    assert "attention is in windows, not by products" in refused
    assert replace(recipe, runtime=replace(recipe.runtime, attention="products")).runtime.attention == "products"


def codec(recipe: Recipe) -> Recipe:
    """The recipe made one of a codec."""
    model, train = FrameAutoencoder(down=8), TrainAutoencoder(steps=1, batch=1)
    return Recipe(name="codec", clip=recipe.clip, crawl=recipe.crawl, preprocess=Preprocess(), model=model, train=train)


@pytest.mark.parametrize("section", [{"sample": Sample()}, {"eval": Eval()}, {"export": Export()}])
def test_a_codec_is_not_sampled_scored_or_exported(refusal: Refusal, recipe: Recipe, section: dict):
    assert refusal(lambda: replace(codec(recipe), **section)).startswith(f"`Recipe.{next(iter(section))}`")


def test_a_generator_needs_codecs(refusal: Refusal, recipe: Recipe):
    assert "a generator learns latents" in refusal(lambda: replace(recipe, preprocess=Preprocess()))


def test_a_codec_of_another_recipe_is_one(refusal: Refusal, recipe: Recipe):
    assert Trained(recipe=codec(recipe))
    assert "small trains no codec" in refusal(lambda: Trained(recipe=recipe))
    assert "trains no codec" in refusal(lambda: Trained(recipe=replace(codec(recipe), train=None)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": Clip(seconds=1.0, size=(36, 36), fps=8, sample_rate=8_000)}, "(36, 36) do not divide into cells"),
        ({"clip": Clip(seconds=1.0, size=(32, 32), fps=25, sample_rate=48_000)}, "into cells of 2 x 8 x 8"),
        ({"clip": replace(CLIP, other_sizes=((36, 32),))}, "8 frames of (36, 32) do not divide into cells"),
        ({"clip": replace(CLIP, other_seconds=(0.375,))}, "3 frames of (32, 32) do not divide into cells"),
        ({"clip": replace(CLIP, other_sizes=((40, 32),))}, "does not divide latents of 4 x 5 x 4"),
        ({"model": JointDiT(width=16, num_dual=1, num_single=0, heads=2, video_patch=(3, 1, 1))}, "`Recipe.model`"),
        ({"model": JointDiT(width=16, num_dual=1, num_single=0, heads=2, audio_patch=4)}, "26 latent frames of sound"),
    ],
)
def test_what_does_not_divide_is_refused_before_any_work(refusal: Refusal, recipe: Recipe, changes: dict, message: str):
    assert recipe.preprocess
    preprocess = replace(recipe.preprocess, video_codec=Haar(down=8, time=2))
    assert message in refusal(lambda: replace(recipe, preprocess=preprocess, **changes))


@pytest.mark.parametrize(("keep_s", "is_right"), [(0.01, False), (0.125, True), (0.875, True), (1.0, False)])
def test_extend_keeps_a_token_and_makes_one(refusal: Refusal, recipe: Recipe, keep_s: float, is_right: bool):
    sample = Sample(requests=(Request(task="extend", keep_s=keep_s),))
    if is_right:
        assert replace(recipe, sample=sample)
    else:
        assert "extend keeps" in refusal(lambda: replace(recipe, sample=sample))


def test_pixels_divide_for_a_codec_too(refusal: Refusal, recipe: Recipe):
    clip = Clip(seconds=1.0, size=(36, 36), fps=8, sample_rate=8_000)
    assert "do not divide" in refusal(lambda: replace(codec(recipe), clip=clip))
    trained = Preprocess(video_codec=Trained(recipe=codec(recipe)), audio_codec=LogMel())
    assert replace(recipe, preprocess=trained)
    assert "do not divide" in refusal(lambda: replace(recipe, clip=clip, preprocess=trained))


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a/b", "../a", "ä"])
def test_a_name_is_fit_for_a_folder(refusal: Refusal, name: str):
    clip = Clip(seconds=1.0, size=(32, 32))
    assert refusal(lambda: Recipe(name=name, clip=clip)).startswith("`Recipe.name` must match")


def test_a_recipe_of_nothing_but_a_clip_is_one():
    assert Recipe(name="a", clip=Clip(seconds=1.0, size=(32, 32))).crawl is None


def test_plain_data_and_back(recipe: Recipe):
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
