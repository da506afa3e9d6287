from __future__ import annotations

from pathlib import Path

from avctl.recipe.errors import Problem, RecipeError, Where

SOURCE = 'first = 1\nclip = Clip(seconds=2.0, size=(64, "ä"), fps=7)\nname = "日本", f(x=1)\n'


def where(folder: Path, text: str, line: int = 2) -> Where:
    """The span of `text` in the given line of the source."""
    file = folder / "r.py"
    file.write_text(SOURCE)
    row = SOURCE.splitlines()[line - 1]
    start = len(row[: row.index(text)].encode())
    return Where(str(file), line, line, start, start + len(text.encode()))


def test_a_place_is_narrowed_to_the_keyword(tmp_path: Path):
    call = where(tmp_path, 'Clip(seconds=2.0, size=(64, "ä"), fps=7)')
    assert call.narrow("fps") == where(tmp_path, "fps=7")
    assert call.narrow("size", 0) == where(tmp_path, "64")
    assert call.narrow("size", 1) == where(tmp_path, '"ä"')
    assert call.narrow("size", 5) == where(tmp_path, 'size=(64, "ä")')
    assert call.narrow("absent") == call


def test_columns_and_carets_count_characters_not_bytes(tmp_path: Path):
    narrow = where(tmp_path, "fps=7")
    assert str(narrow).endswith(f"r.py:2:{SOURCE.splitlines()[1].index('fps') + 1}")
    text, carets = narrow.snippet().splitlines()
    assert carets.index("^") == text.index("fps=7")
    assert carets.count("^") == len("fps=7")


def test_a_wide_letter_takes_two_columns(tmp_path: Path):
    text, carets = where(tmp_path, "f(x=1)", line=3).snippet().splitlines()
    assert carets.index("^") == text.index("f(x=1)") + 2
    assert carets.count("^") == len("f(x=1)")


def test_an_error_has_its_place_caret_blank_line_and_hint(tmp_path: Path):
    problem = Problem("`Clip.fps` is odd", where(tmp_path, "fps=7"), "8 works")
    head, place, line, carets, blank, hint = str(problem).splitlines()
    assert head == "error: `Clip.fps` is odd"
    assert place.startswith("  --> ") and place.endswith("r.py:2:42")
    assert line.startswith("   2 | clip =") and carets.strip("| ") == "^^^^^"
    assert blank == "" and hint == "hint: 8 works"


def test_a_place_without_source_still_has_its_name():
    assert str(Problem("wrong", Where("<stdin>", 3, 3, 0, 4))).endswith("  --> <stdin>:3:1")


def test_an_error_of_many_problems_shows_each_once():
    error = RecipeError.of([Problem("one"), Problem("two"), Problem("one")])
    assert str(error) == "error: one\n\nerror: two"
    assert [p["message"] for p in error.plain()["problems"]] == ["one", "two"]  # pyright: ignore
    assert error.code == 3
