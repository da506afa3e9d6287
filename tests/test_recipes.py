"""The recipes that are shipped: each loads, fits together, and does what its text says."""

from __future__ import annotations

from pathlib import Path

import pytest

from avctl.codecs import VideoCodec, build_audio_codec, build_video_codec
from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.pipeline import STAGES, codec_recipe, steps
from avctl.recipe import load, override
from avctl.schema import FrameAutoencoder, JointDiT, Recipe, Trained

FOLDER = Path(__file__).parents[1] / "recipes"
RECIPES = sorted(path.name for path in FOLDER.glob("*.py"))


def content(path: Path) -> str:
    return f"content of {path}"


def shipped(ref: str) -> Recipe:
    return load(FOLDER / ref, Recipe)


@pytest.mark.parametrize("ref", RECIPES)
def test_a_recipe_loads_and_says_first_what_it_is(ref: str):
    assert (FOLDER / ref).read_text().startswith('"""')
    assert steps(shipped(ref), content)


@pytest.mark.parametrize("ref", [ref for ref in RECIPES if shipped(ref).model])
def test_the_patches_of_a_model_divide_its_latents(ref: str):
    recipe = shipped(ref)
    assert recipe.preprocess and recipe.preprocess.audio_codec and isinstance(recipe.model, JointDiT)
    frames, _, height, width = video_codec(recipe).latent_shape(recipe.clip.frames, recipe.clip.size)
    sizes = zip((frames, height, width), recipe.model.video_patch, strict=True)
    assert [size % patch for size, patch in sizes] == [0, 0, 0]
    audio = build_audio_codec(recipe.preprocess.audio_codec, recipe.clip)
    assert audio.latent_frames(recipe.clip.samples) % recipe.model.audio_patch == 0


def video_codec(recipe: Recipe) -> VideoCodec:
    """As its recipe describes it, with untrained weights."""
    spec = recipe.preprocess.video_codec if recipe.preprocess else None
    if isinstance(spec, Trained):
        assert isinstance(spec.recipe.model, FrameAutoencoder)
        return FrameAutoencoderCodec(spec.recipe.model)
    assert spec
    return build_video_codec(spec, recipe.clip, None)


def test_tiny_runs_all_six_stages_and_its_codec_before_them():
    made = steps(shipped("tiny.py"), content)
    assert [step.stage.name for step in made if not step.is_codec] == list(STAGES)
    assert [step.stage.name for step in made if step.is_codec] == ["crawl", "preprocess", "train"]


def test_own_needs_one_path_because_its_codec_shares_the_crawl():
    recipe = override(shipped("own.py"), "crawl.sources.0.path=/videos")
    codec = codec_recipe(recipe)
    assert codec and codec.crawl == recipe.crawl
    crawls = [step for step in steps(recipe, content) if step.stage.name == "crawl"]
    assert len(crawls) == 1 and not crawls[0].is_codec


def test_a_codec_with_a_crawl_of_its_own_keeps_it():
    recipe = shipped("tiny.py")
    codec = codec_recipe(recipe)
    assert codec and codec.crawl and codec.crawl != recipe.crawl


def test_own_keeps_its_clips_on_the_sides_that_its_codec_saw():
    """The codec learns from the clips of the side `train` only, so that what is held out is held out from both."""
    recipe = shipped("own.py")
    codec = codec_recipe(recipe)
    assert codec and codec.preprocess and recipe.preprocess
    assert codec.preprocess.split == recipe.preprocess.split
    assert codec.preprocess.model_copy(update={"video_codec": None}) == recipe.preprocess.model_copy(
        update={"video_codec": None, "audio_codec": None}
    )
