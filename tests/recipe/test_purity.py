from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from avctl.recipe import RecipeError, load
from avctl.recipe.purity import pure
from avctl.schema import Recipe

DEEDS = {
    "open('x', 'w')": "write `x`",
    "os.open('x', os.O_RDWR | os.O_CREAT)": "write `x`",
    "Path('x').mkdir()": "change files",
    "os.remove('keep')": "delete files",
    "os.rename('keep', 'x')": "rename or link files",
    "subprocess.run(['true'])": "start a program",
    "os.system('true')": "start a program",
    "os.fork()": "start a process",
    "socket.create_connection(('127.0.0.1', 9))": "use the network",
    "socket.socket().bind(('127.0.0.1', 0))": "use the network",
}


@pytest.mark.parametrize(("deed", "what"), DEEDS.items())
def test_a_recipe_has_no_effects_and_is_shown_the_line_that_tried(here: Path, deed: str, what: str):
    (here / "keep").write_text("")
    (here / "r.py").write_text(f"import os, socket, subprocess\nfrom pathlib import Path\n{deed}\n")
    with pytest.raises(RecipeError) as caught:
        load("r.py", Recipe)
    assert caught.value.message == f"a recipe may not {what} while it loads"
    assert str(caught.value.where).startswith("r.py:3:")
    assert sorted(os.listdir(here)) == ["keep", "r.py", "videos"]


def test_a_swallowed_refusal_is_still_told(here: Path):
    (here / "r.py").write_text("try:\n    open('x', 'w')\nexcept Exception:\n    pass\n")
    with pytest.raises(RecipeError, match="write `x`"):
        load("r.py", Recipe)


def test_a_recipe_may_read_files(here: Path):
    (here / "r.py").write_text("from pathlib import Path\nrecipe = Path('videos/a.txt').read_text()\n")
    with pytest.raises(RecipeError, match="of type `str`"):
        load("r.py", Recipe)


def test_the_guard_is_off_outside_and_for_other_threads(here: Path):
    done = threading.Event()
    with pure(lambda frame: False):
        thread = threading.Thread(target=lambda: ((here / "x").write_text("x"), done.set()))
        thread.start()
        thread.join()
    assert done.is_set()
    (here / "y").write_text("y")
