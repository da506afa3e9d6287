from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import Annotated, Literal

from pydantic import Field

from avctl.recipe.annotation import choices, describe, element, members
from avctl.schema import Haar, Trained

Codec = Annotated[Haar | Trained, Field(discriminator="kind")]


def test_unions_are_opened_however_nested():
    assert members(Codec | None) == (Haar, Trained, NoneType)
    assert members(int) == (int,)


def test_elements_of_tuples_have_their_own_type():
    assert element(tuple[int, str], 1) is str
    assert element(tuple[int, ...] | None, 7) is int
    assert element(tuple[int, str], 2) is None
    assert element(int, 0) is None


def test_types_are_put_into_words():
    assert describe(Codec | None) == "`Haar`, `Trained` or None"
    assert describe(tuple[int, float]) == "a tuple (a whole number, a number)"
    assert describe(tuple[Path, ...]) == "a tuple of (a path)"
    assert describe(tuple[int, str], 1) == "text"
    assert describe(Literal["a", "b"] | bool) == "'a', 'b' or True or False"


def test_choices_are_the_words_of_literals():
    assert choices(tuple[Literal["a", "b"], ...] | Literal["c"]) == ("a", "b", "c")
    assert choices(int) == ()
