"""What the README tells people to type, typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from avctl.errors import Failure, StageError
from avctl.recipe.errors import RecipeError

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHELL = [block for language, block in BLOCKS if language == "sh"]
INSTALL = "pip install -e"  # the blocks that install are what `.ci/run` does


def test_the_readme_installs_and_runs_everything_in_one_line():
    assert SHELL[:2] == ["pip install -e . && avctl run recipes/tiny.py\n", "pip install -e '.[dev]' && pytest\n"]
    assert "pip install -e '.[dev]'" in (ROOT / ".ci" / "run").read_text()


def test_every_path_that_the_readme_names_is_there():
    paths = re.findall(r"[`(]((?:avctl|recipes|kernels|benches|tests|\.github)/[a-z_./]*)[`)]", README)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.fixture
def bench_table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`benches.table`; the folder of the repository is not on the path."""
    monkeypatch.syspath_prepend(ROOT)
    return import_module("benches.table")


def test_the_table_of_the_readme_is_made_of_the_results_that_are_kept(bench_table: ModuleType):
    made = bench_table.table(bench_table.newest(bench_table.RESULTS))
    assert f"{bench_table.BEGIN}{made}{bench_table.END}" in README
    assert made.count("\n| ") > 10


def test_a_line_of_the_table_compares_figures_of_one_run_only(bench_table: ModuleType):
    table, line = bench_table.table, bench_table.Line("race", "b", "ms", "a: ", others={"peer": "peer"})
    row = {"time": 1, "median": 2.0, "low": 1.0, "high": 3.0, "runs": 3, "processor": "p", "cores": 2}
    rows = {("b", "a: avctl", "ms"): row, ("b", "a: peer", "ms"): row | {"median": 4.0}}
    assert "| race | **2** (1 to 3) | peer 4 | ms |" in table(rows, [line])
    rows["b", "a: peer", "ms"] = row | {"time": 2}
    with pytest.raises(ValueError, match="different runs"):
        table(rows, [line])


def test_a_line_of_another_machine_than_most_has_a_mark(bench_table: ModuleType):
    row = {"time": 1, "median": 2.0, "low": 1.0, "high": 3.0, "runs": 1, "processor": "p", "cores": 2}
    rows = {("b", f"{name}: avctl", "ms"): row for name in "xyz"}
    rows["b", "y: avctl", "ms"] = row | {"processor": "q"}
    made = bench_table.table(rows, [bench_table.Line(name, "b", "ms", f"{name}: ") for name in "xyz"])
    assert [line.split(" | ")[0] for line in made.splitlines()[2:5]] == ["| x", "| y†", "| z"]
    assert "Measured on: p, 2 cores; †q, 2 cores." in made


def test_the_exit_codes_of_the_readme_are_those_of_the_code():
    codes = {each.code for each in (Failure, *Failure.__subclasses__(), *StageError.__subclasses__())}
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert codes | {RecipeError.code, 0, 130} == told


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the recipes and the Python files that the README shows."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    for language, block in BLOCKS:
        if language == "python":
            name = block.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(block)
    (tmp_path / "videos").mkdir()
    return tmp_path


def typed(place: Path, block: str) -> subprocess.CompletedProcess[str]:
    """A block of the README in a shell, on this environment's `avctl` and `python`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    block = block.replace("/videos", str(place / "videos"))
    environment = {**os.environ, "PATH": path}
    return subprocess.run(
        ["bash", "-euc", block], cwd=place, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def needs_a_run(block: str) -> bool:
    return "avctl export" in block or ("avctl run" in block and "--dry-run" not in block)


@pytest.mark.parametrize("block", [block for block in SHELL if INSTALL not in block and not needs_a_run(block)])
def test_the_quick_commands_of_the_readme_work(place: Path, block: str):
    done = typed(place, block)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_command_for_ones_own_videos_is_understood(place: Path):
    (block,) = [block for block in SHELL if "own.py" in block]
    (place / "videos" / "a.mp4").write_bytes(b"not yet read")
    done = typed(place, block.rstrip() + " --dry-run")
    assert done.returncode == 0, done.stderr
    assert "would make export own-" in done.stderr


@pytest.mark.slow
def test_the_main_command_of_the_readme_ends_with_report_clips_and_model(place: Path):
    command = SHELL[0].partition("&&")[2]
    done = typed(place, command)
    assert done.returncode == 0, done.stderr
    ends = dict(re.findall(r"^(report|clips|model): +(\S+)", done.stderr, re.MULTILINE))
    assert (place / ends["report"]).stat().st_size > 100_000
    assert len(list(place.glob(ends["clips"]))) > 100
    assert (place / ends["model"] / "config.json").exists() and (place / ends["model"] / "model.onnx").exists()

    again = typed(place, command)
    assert again.returncode == 0 and again.stdout == done.stdout
    assert again.stderr.count("is done") >= 9  # three stages of the codec, six of the recipe

    for block in SHELL:
        if "avctl export" in block:
            said = typed(place, block)
            assert said.returncode == 0, said.stderr
    assert (place / "out.mp4").stat().st_size > 1_000
