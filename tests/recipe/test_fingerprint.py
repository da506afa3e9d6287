from __future__ import annotations

from pathlib import Path

import pytest

from avctl.recipe import Spec, added
from avctl.recipe.fingerprint import fingerprint, plain
from avctl.recipe.spec import PathField


class Inner(Spec):
    path: PathField
    new: int = added(3, gt=0)


class Outer(Spec):
    inner: Inner
    numbers: tuple[float, ...] = (1.0, 2.0)


def content(path: Path) -> str:
    return f"hash of {path.name}"


def test_a_section_is_plain_data_with_content_for_paths():
    outer = Outer(inner=Inner(path=Path("/somewhere/x")))
    assert plain(outer, content) == {"inner": {"path": "hash of x"}, "numbers": [1.0, 2.0]}


def test_a_field_added_later_counts_only_away_from_its_neutral_value():
    assert "new" not in plain(Inner(path=Path("x"), new=3), content)
    assert plain(Inner(path=Path("x"), new=4), content)["new"] == 4


def test_a_stand_in_takes_the_place_of_a_section():
    outer = Outer(inner=Inner(path=Path("x")))
    data = plain(outer, content, lambda spec: {"codec": "abc"} if isinstance(spec, Inner) else None)
    assert data["inner"] == {"codec": "abc"}


def test_everything_named_enters_and_nothing_else():
    def of(stage: str = "s", version: int = 1, number: float = 1.0, inputs: dict[str, str] | None = None) -> str:
        outer = Outer(inner=Inner(path=Path("x")), numbers=(number,))
        return fingerprint(stage, version, {"outer": outer}, inputs or {}, content)

    prints = [of(), of(stage="t"), of(version=2), of(number=2.0), of(inputs={"a": "b"})]
    assert len(set(prints)) == len(prints)
    assert of() == of() and len(of()) == 12


def test_nan_has_no_fingerprint():
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint("s", 1, {"x": float("nan")}, {}, content)
