from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from avctl.recipe.parse import Unreadable, parse
from avctl.schema import Haar

READABLE = [
    ("3", int, 3),
    ("1_000", int, 1000),
    ("3e-4", float, 3e-4),
    ("3", float, 3.0),
    ("3", str, "3"),
    ("none", str | None, None),
    ("none", str, "none"),
    ("None", int | None, None),
    ("true", bool, True),
    ("False", bool, False),
    ("4", Literal[1, 4], 4),
    ("0", Literal[0, 4], 0),
    ("auto", Literal["auto", "cpu"], "auto"),
    ("/a b/c", Path, Path("/a b/c")),
    ("2,3", tuple[int, int], (2, 3)),
    ("(2, 3)", tuple[int, int], (2, 3)),
    ("()", tuple[str, ...], ()),
    ("", tuple[str, ...], ()),
    ("a,", tuple[str, ...], ("a",)),
    ("a,b", tuple[str, ...] | None, ("a", "b")),
    ('("a, b", "c")', tuple[str, ...], ("a, b", "c")),
    ("http://x/?a=1", tuple[str, ...], ("http://x/?a=1",)),
    ("0.9,0.95", tuple[float, float], (0.9, 0.95)),
]


@pytest.mark.parametrize(("text", "annotation", "value"), READABLE)
def test_a_text_is_read_by_the_type_of_its_field(text: str, annotation: Any, value: Any):
    found = parse(text, annotation)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("1.5", int),
        ("yes", bool),
        ("1", bool),
        ("none", int),
        ("2", tuple[int, int]),
        ("2,3,4", tuple[int, int]),
        ("a,b", tuple[int, ...]),
        ("x", Literal["auto"]),
        ("x", Haar),
    ],
)
def test_a_text_that_is_no_such_value_is_refused(text: str, annotation: Any):
    with pytest.raises(Unreadable):
        parse(text, annotation)


def test_a_misspelt_choice_comes_with_a_suggestion():
    with pytest.raises(Unreadable) as caught:
        parse("flaot32", Literal["auto", "float32"])
    assert caught.value.hint == "did you mean `float32`?"
