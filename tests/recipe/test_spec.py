from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from avctl.recipe import RecipeError, replace
from avctl.recipe.errors import Where
from avctl.recipe.spec import mark, origins
from avctl.schema import Clip, Crawl, Directory, Haar, JointDiT, Optim, Preprocess, Recipe, Runtime, TaskMix


def clip(**changes: object) -> Clip:
    return Clip(**{"seconds": 1.0, "size": (32, 32), "fps": 8, "sample_rate": 8_000, **changes})  # pyright: ignore


def marked(error: RecipeError, number: int = 0) -> str:
    """The source text that the carets of a problem stand under."""
    where = error.problems[number].where
    assert isinstance(where, Where)
    text, carets = where.snippet().splitlines()
    return text[carets.index("^") : carets.rindex("^") + 1]


def test_an_unknown_field_gets_the_caret_and_a_suggestion():
    with pytest.raises(RecipeError) as caught:
        Runtime(devise="cpu")  # pyright: ignore
    assert caught.value.message == "`Runtime` has no field `devise`"
    assert caught.value.hint == "did you mean `device`?"
    assert marked(caught.value) == 'devise="cpu"'


def test_a_wrong_choice_gets_a_suggestion():
    with pytest.raises(RecipeError) as caught:
        Runtime(device="cudaa")  # pyright: ignore
    assert caught.value.message == "`Runtime.device` must be 'auto', 'cpu' or 'cuda', got 'cudaa'"
    assert caught.value.hint == "did you mean `cuda`?"


def test_every_error_of_a_section_is_told_at_once():
    with pytest.raises(RecipeError) as caught:
        Clip(secs=1.0, size=(32, "x"), fps=-8)  # pyright: ignore
    assert [p.message for p in caught.value.problems] == [
        "`Clip` needs `seconds`",
        "`Clip.size` must be a whole number, got 'x'",
        "`Clip.fps` must be greater than 0, got -8",
        "`Clip` has no field `secs`",
    ]
    assert [marked(caught.value, i) for i in (1, 2, 3)] == ['"x"', "fps=-8", "secs=1.0"]


def test_a_validators_error_points_at_the_field_in_backticks_and_keeps_its_advice():
    with pytest.raises(RecipeError) as caught:
        Clip(seconds=1.0, size=(32, 32), fps=7, sample_rate=8_000)
    assert caught.value.message == "`Clip.sample_rate`: 8000 Hz does not divide into 7 frames a second"
    assert marked(caught.value) == "sample_rate=8_000"
    assert "16000 for 8" in str(caught.value.hint)


def test_a_section_of_the_wrong_kind_is_named_with_the_right_ones():
    with pytest.raises(RecipeError) as caught:
        Recipe(name="a", clip=clip(), model=Haar())  # pyright: ignore
    assert caught.value.message == "`Recipe.model` must be `JointDiT`, `FrameAutoencoder` or None, got `Haar(...)`"
    assert marked(caught.value) == "model=Haar()"


def test_an_error_inside_a_nested_call_points_at_the_innermost_keyword():
    with pytest.raises(RecipeError) as caught:
        Recipe(name="a", clip=clip(), crawl=Crawl(sources=(Directory(path=3),)))  # pyright: ignore
    assert marked(caught.value) == "path=3"


def test_an_element_of_a_tuple_gets_the_caret():
    with pytest.raises(RecipeError) as caught:
        Crawl(sources=(Directory(path="a"), Haar()))  # pyright: ignore
    assert marked(caught.value) == "Haar()"


@pytest.mark.parametrize("value", [True, "8", 8.0])
def test_types_are_strict(value: object):
    with pytest.raises(RecipeError, match="must be a whole number"):
        clip(fps=value)


def test_numbers_must_be_finite():
    with pytest.raises(RecipeError, match="finite"):
        clip(seconds=float("nan"))
    with pytest.raises(RecipeError, match="finite"):
        Optim(lr=float("inf"))


def test_fields_are_given_by_name():
    with pytest.raises(RecipeError, match="takes its fields by name"):
        Clip(1.0)  # pyright: ignore


def test_a_section_cannot_be_changed():
    with pytest.raises(Exception, match="frozen"):
        clip().fps = 3  # pyright: ignore


def test_replace_checks_again_and_points_at_its_own_keyword():
    base = clip()
    assert replace(base, fps=16, sample_rate=16_000).frames == 16
    with pytest.raises(RecipeError) as caught:
        replace(base, sample_rate=7)
    assert marked(caught.value) == "sample_rate=7"
    with pytest.raises(RecipeError) as caught:
        replace(base, fsp=7)
    assert caught.value.hint == "did you mean `fps`?"
    with pytest.raises(RecipeError, match="takes a section"):
        replace(3, fps=1)  # pyright: ignore


def test_values_left_by_replace_keep_their_origin():
    base = clip()
    derived = replace(base, seconds=2.0)
    assert origins(derived)["fps"] == origins(base)["fps"]
    assert origins(derived)["seconds"] != origins(base)["seconds"]


def test_origins_count_neither_for_equality_nor_for_hashes():
    assert clip() == Clip(seconds=1.0, size=(32, 32), fps=8, sample_rate=8_000)
    assert hash(clip()) == hash(clip())


@pytest.mark.parametrize("section", [clip(), TaskMix(), JointDiT(width=8, num_dual=1, num_single=0, heads=2)])
def test_sections_survive_pickling_and_copying(section: Clip):
    assert pickle.loads(pickle.dumps(section)) == section
    assert copy.copy(section) == copy.deepcopy(section) == section
    assert replace(pickle.loads(pickle.dumps(section))) == section


def test_a_path_may_be_written_as_text():
    assert Directory(path="videos").path == Path("videos")  # pyright: ignore


def test_marking_reaches_every_section_below():
    recipe = mark(Recipe(name="a", clip=clip(), preprocess=Preprocess()), "elsewhere")
    assert set(origins(recipe.clip).values()) == {"elsewhere"}
    assert set(origins(recipe.preprocess.split).values()) == {"elsewhere"}
