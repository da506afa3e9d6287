from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.recipe import load
from avctl.schema import MDCT, Haar, LogMel, Preprocess, Recipe, Trained

Refusal = Callable[[Callable[[], object]], str]


def test_codecs_are_told_apart_in_plain_data():
    for codec in (MDCT(), LogMel(hop=160)):
        section = Preprocess(video_codec=Haar(), audio_codec=codec)
        assert Preprocess.model_validate_json(section.model_dump_json()) == section


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: LogMel(hop=600, window=1_024), "LogMel.hop"),
        (lambda: LogMel(floor=0.0), "LogMel.floor"),
        (lambda: MDCT(hop=0), "MDCT.hop"),
    ],
)
def test_a_codec_that_loses_what_it_should_keep_is_refused(refusal: Refusal, build: Callable[[], object], field: str):
    assert refusal(build).startswith(f"`{field}`")


def test_a_trained_codec_holds_a_recipe(recipe_file: Path, refusal: Refusal):
    recipe = load(f"{recipe_file}::learned", Recipe)
    assert recipe.preprocess and isinstance(recipe.preprocess.video_codec, Trained)
    assert recipe.preprocess.video_codec.recipe.name == "codec"
    assert "`Trained.recipe` must be `Recipe`" in refusal(lambda: Trained(recipe=Haar()))  # pyright: ignore
