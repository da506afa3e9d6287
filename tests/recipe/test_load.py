from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from avctl.recipe import RecipeError, load
from avctl.recipe.load import read
from avctl.recipe.snapshot import freeze
from avctl.schema import Recipe

BASE = """from avctl.schema import Clip, Recipe, Runtime
recipe = Recipe(name="base", clip=Clip(seconds=1.0, size=(32, 32), fps=8, sample_rate=8_000))
"""
DERIVED = """from avctl.recipe import replace
from recipes.base import recipe as base
recipe = replace(base, name="derived")
again = replace(recipe, name="again")
number = 3
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def error_of(ref: str | Path) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load(ref, Recipe)
    return caught.value


@pytest.mark.parametrize("folder", ["recipes", "experiments", "with-a-dash", "json", "a b/recipes"])
def test_recipes_derive_by_import_wherever_their_folder_stands(here: Path, folder: str):
    place = write(here / folder, base=BASE, derived=DERIVED)
    path, modules = list(sys.path), set(sys.modules)
    assert load(place / "derived.py", Recipe).name == "derived"
    assert load(f"{place}/derived.py::again", Recipe).name == "again"
    assert sys.path == path and set(sys.modules) == modules
    assert not list(place.glob("**/__pycache__"))


def test_a_recipe_may_be_called_as_the_one_it_derives_from(here: Path):
    write(here / "recipes", base=BASE)
    assert load(write(here / "mine", base=DERIVED) / "base.py", Recipe).name == "derived"


def test_a_neighbour_that_is_imported_by_its_bare_name_is_named(here: Path):
    place = write(here / "mine", base=BASE, derived=DERIVED.replace("recipes.base", "base"))
    assert error_of(place / "derived.py").hint == "a neighbour is imported by `from recipes.base import ...`"


def test_a_recipe_elsewhere_finds_the_folder_recipes_above_it(here: Path):
    write(here / "recipes", base=BASE)
    assert load(write(here / "mine" / "deep", derived=DERIVED) / "derived.py", Recipe).name == "derived"


def test_recipes_of_one_folder_import_each_other_by_its_own_name_too(here: Path):
    place = write(here / "experiments", base=BASE, derived=DERIVED.replace("recipes.base", "experiments.base"))
    assert load(place / "derived.py", Recipe).name == "derived"
    place = write(here / "experiments", relative=DERIVED.replace("recipes.base", ".base"))
    assert load(place / "relative.py", Recipe).name == "derived"


def test_two_folders_with_the_same_file_names_do_not_mix(here: Path):
    write(here / "one", base=BASE, derived=DERIVED)
    write(here / "two", base=BASE.replace("8_000", "16_000"), derived=DERIVED)
    assert load("one/derived.py", Recipe).clip.sample_rate == 8_000
    assert load("two/derived.py", Recipe).clip.sample_rate == 16_000


def test_the_sources_are_the_recipe_and_what_it_imported(here: Path):
    place = write(here / "mine", base=BASE, derived=DERIVED, unused="1 / 0")
    assert read(place / "derived.py", Recipe).sources == (place / "derived.py", place / "base.py")


def test_a_missing_file_or_name_comes_with_a_suggestion(here: Path):
    place = write(here, derived=DERIVED, base=BASE)
    assert error_of(place / "drived.py").hint == "did you mean `derived.py`?"
    error = error_of(f"{place}/derived.py::agian")
    assert error.message.endswith("defines no `agian`") and error.hint == "did you mean `again`?"
    assert "is of type `int`, not `Recipe`" in error_of(f"{place}/derived.py::number").message
    assert error_of(write(here, empty="x = 1") / "empty.py").hint == "write `recipe = Recipe(...)`"


def test_all_wrong_sections_of_a_recipe_are_told_at_once(here: Path):
    text = BASE.replace("seconds=1.0", "secnds=1.0") + "Runtime(workers=0)\nprint(recipe.clip.frames)\n"
    error = error_of(write(here, r=text) / "r.py")
    assert [p.message for p in error.problems] == [
        "`Clip` needs `seconds`",
        "`Clip` has no field `secnds`",
        "`Runtime.workers` must be at least 1, got 0",
    ]


def test_a_section_that_holds_a_wrong_one_adds_no_error_of_its_own(here: Path):
    text = "from avctl.schema import *\nSplit(valid=2.0)\nrecipe = Preprocess(split=Split(valid=0.9, test=0.9))\n"
    assert len(error_of(write(here, r=text) / "r.py").problems) == 2


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("x = 1\ny = (3 4)\n", "syntax error", "r.py:2:6"),
        ("x = 1\n  y = 2\n", "syntax error: unexpected indent", "r.py:2"),
        ("def f():\n    return 1 / 0\nx = f()\n", "ZeroDivisionError: division by zero", "r.py:2:12"),
        ("import nonsense_package\n", "ModuleNotFoundError", "r.py:1:1"),
        ("from avctl.schema import Cilp\n", "ImportError", "r.py:1:1"),
        ("x = undefined_name\n", "NameError", "r.py:1:5"),
        ("raise SystemExit(3)\n", "SystemExit", "r.py:1:1"),
    ],
)
def test_whatever_goes_wrong_in_a_recipe_points_at_its_line(here: Path, text: str, message: str, place: str):
    error = error_of(write(here, r=text) / "r.py")
    assert error.message.startswith(message)
    assert str(error.where).startswith(place)
    assert "Traceback" not in str(error)


def test_an_error_in_an_imported_recipe_points_into_that_file(here: Path):
    write(here, base="x = 1\nrecipe = 1 / 0\n", derived=DERIVED)
    assert str(error_of("derived.py").where) == "base.py:2:10"
    write(here, base="x = (1\n")
    assert str(error_of("derived.py").where) == "base.py:1:5"


def test_a_misspelt_import_comes_with_a_suggestion(here: Path):
    write(here, base=BASE, derived=DERIVED.replace("recipes.base", "recipes.bsae"))
    assert error_of("derived.py").hint == "did you mean `base`?"
    assert error_of(write(here, r="from avctl.schema import Cilp\n") / "r.py").hint == "did you mean `Clip`?"


def test_what_a_recipe_prints_does_not_reach_standard_output(here: Path):
    write(here, r=BASE + "print('hello')\n")
    code = "from avctl.recipe import load; from avctl.schema import Recipe; load('r.py', Recipe)"
    done = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
    assert done.stdout == "" and "hello" in done.stderr


def test_a_frozen_recipe_is_a_recipe(here: Path):
    recipe = load(write(here, base=BASE) / "base.py", Recipe)
    freeze(recipe, (), here)
    assert load("recipe.yaml", Recipe) == recipe
    assert "without names" in error_of("recipe.yaml::x").message


def test_other_files_are_no_recipes(here: Path):
    (here / "r.txt").write_text("x")
    assert "is not a recipe" in error_of("r.txt").message
