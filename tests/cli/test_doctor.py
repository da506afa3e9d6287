from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from avctl.cli.doctor import _satisfies

BARE = """
import sys
from importlib.abc import MetaPathFinder
STANDARD = set(sys.stdlib_module_names) | {"avctl", "click", "rich", "pygments", "markdown_it", "mdurl"}
class OnlyClickAndRich(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in STANDARD and not name.startswith("__editable__"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, OnlyClickAndRich())
from avctl.cli.main import main
main(sys.argv[1:])
"""


def test_it_works_where_only_click_and_rich_are_installed(here: Path):
    done = subprocess.run([sys.executable, "-c", BARE, "doctor"], capture_output=True, text=True, cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["what", "state", "found", "wants"]


def test_other_commands_say_what_is_missing_there(here: Path):
    done = subprocess.run([sys.executable, "-c", BARE, "plan", "x.py"], capture_output=True, text=True, cwd=here)
    assert done.returncode == 6 and "is not installed" in done.stderr


def test_the_machine_and_every_requirement_are_listed(avctl: Callable[..., subprocess.CompletedProcess[str]]):
    rows = {row["what"]: row for row in json.loads(avctl("doctor", "--json").stdout)["rows"]}
    assert {"python", "processor", "memory", "gpu", "git", "torch", "pydantic"} <= rows.keys()
    assert rows["pydantic"]["state"] == "ok" and rows["pydantic"]["found"][0] == "2"


def test_versions_are_compared_as_setup_writes_them():
    assert _satisfies("2.11.0+cpu", "==2.11.*") and not _satisfies("2.12.0", "==2.11.*")
    assert _satisfies("2.14.3", "<3,>=2.10") and not _satisfies("2.9", "<3,>=2.10") and not _satisfies("3.0", "<3")
    assert _satisfies("1", "")
