from __future__ import annotations

from pathlib import Path

import pytest

from avctl.cli.options import Options, complete_recipe


def test_options_can_be_typed_again():
    options = Options(store=Path("my runs"), overrides=("a=1",), given=(Path("x"),), force=True)
    assert options.words() == ["-o", "a=1", "--with", "x", "--store", "my runs"]
    assert Options(store=Path("runs")).words() == []


def test_the_shell_completes_recipes(here: Path, monkeypatch: pytest.MonkeyPatch):
    (here / "recipes").mkdir()
    for name in ("tiny.py", "small.py", "notes.txt"):
        (here / "recipes" / name).touch()
    assert complete_recipe("") == ["recipes/small.py", "recipes/tiny.py"]
    assert complete_recipe("recipes/t") == ["recipes/tiny.py"]
