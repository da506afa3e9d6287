"""The table of exit codes, by the real command; 75 and 130 stand in test_execute, where stages wait for signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from avctl import __version__
from avctl.artifact.lock import Lock
from avctl.cli.stages import HELP
from avctl.errors import Failure, InputError, Interrupted, LockedError, MachineError, StageError
from avctl.recipe.errors import RecipeError

Avctl = Callable[..., subprocess.CompletedProcess[str]]


def test_every_kind_of_failure_has_a_code_of_its_own():
    kinds: list[type[Failure]] = [StageError, RecipeError, InputError, LockedError, MachineError, Interrupted]
    assert [kind.code for kind in kinds] == [1, 3, 4, 5, 6, 75]


def test_help_lists_the_commands_in_the_order_of_work(process: Avctl):
    done = process("--help")
    assert done.returncode == 0
    words = [line.split()[0] for line in done.stdout.partition("Commands:")[2].strip().splitlines()]
    assert words == [*HELP, "run", "plan", "ls", "webdataset", "doctor"]
    assert process("--version").stdout.split()[-1] == __version__


def test_help_comes_fast_and_imports_nothing_heavy(here: Path):
    code = (
        "import sys, avctl, avctl.cli.main\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'yaml', 'rich', 'av', 'zarr'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=here)
    before = os.times()
    subprocess.run([sys.executable, "-m", "avctl", "--help"], check=True, cwd=here, capture_output=True)
    after = os.times()  # processor time, so that a busy machine does not count
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.5


def test_making_a_plan_imports_no_torch(recipe_file: Path):
    code = (
        "import sys\nfrom avctl.cli.main import avctl\n"
        "avctl.main(['plan', 'small.py::learned'], standalone_mode=False)\nassert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("crawll", "small.py"), "No such command 'crawll'"),
        (("crawl",), "Missing argument 'RECIPE'"),
        (("crawl", "small.py", "--stoer", "x"), "No such option"),
        (("crawl", "small.py", "-q", "-v"), "`-q` and `-v` exclude each other"),
        (("crawl", "small.py", "--force", "--retry"), "give one of them"),
        (("train", "small.py", "--retry"), "`train` has no dead letters to retry"),
        (("sample", "small.py::autoencoder"), "`small.py::autoencoder` has no section `sample`"),
        (("ls", "--failed", "--verify"), "exclude each other"),
    ],
)
def test_a_wrong_command_line_is_2(avctl: Avctl, recipe_file: Path, words: tuple[str, ...], message: str):
    done = avctl(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and message in done.stderr


def test_no_command_shows_the_help(process: Avctl):
    done = process()
    assert done.returncode == 2 and "Commands:" in done.stderr + done.stdout


def test_a_wrong_recipe_is_3_with_place_caret_and_hint(process: Avctl, recipe_file: Path):
    recipe_file.write_text(recipe_file.read_text().replace("seconds=1.0", "secnds=1.0"))
    done = process("crawl", recipe_file)
    assert (done.returncode, done.stdout) == (3, "")
    line = "clip = Clip(secnds=1.0, size=(32, 32), fps=8, sample_rate=8_000)"
    number = recipe_file.read_text().splitlines().index(line) + 1
    assert (
        f"  --> small.py:{number}:13\n{number:>4} | {line}\n     | {' ' * 12}^^^^^^^^^^\n\nhint: did you" in done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ref", ["absent.py", "small.py::absent"])
def test_a_missing_recipe_is_3(process: Avctl, recipe_file: Path, ref: str):
    assert process("plan", ref).returncode == 3


def test_a_wrong_override_is_3_and_points_at_itself(process: Avctl, recipe_file: Path):
    done = process("crawl", recipe_file, "-o", "crawl.max_flies=3")
    assert done.returncode == 3
    assert done.stderr == (
        "error: no field `crawl.max_flies`\n  --> -o crawl.max_flies=3\n\nhint: did you mean `crawl.max_files`?\n"
    )


def test_a_missing_input_is_4_with_the_command_that_makes_it(process: Avctl, recipe_file: Path):
    done = process("preprocess", recipe_file, "-o", "seed=1", "--store", "my runs")
    assert (done.returncode, done.stdout) == (4, "")
    assert "hint: make it: avctl crawl small.py -o seed=1 --store 'my runs'" in done.stderr
    done = process("preprocess", "small.py::learned")
    assert done.returncode == 4


def test_a_missing_source_is_4(process: Avctl, recipe_file: Path):
    done = process("crawl", recipe_file, "-o", "crawl.sources.0.path=nowhere")
    assert done.returncode == 4 and "nothing at `nowhere`" in done.stderr


def test_an_artifact_that_is_being_written_is_5(process: Avctl, recipe_file: Path):
    found = json.loads(process("plan", recipe_file, "--json").stdout)["steps"][0]
    lock = Lock(Path("runs/crawl") / f".{found['artifact'].rpartition('-')[2]}.lock", "it")
    done = process("crawl", recipe_file)
    assert done.returncode == 5 and "is being written by process" in done.stderr
    assert json.loads(process("plan", recipe_file, "--json").stdout)["steps"][0]["state"] == "running"
    lock.release()


def test_a_missing_package_is_6(here: Path):
    code = "import sys\nsys.modules['pydantic'] = None\nfrom avctl.cli.main import main\nmain(['plan', 'small.py'])\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here)
    assert done.returncode == 6
    assert done.stderr == "error: the package `pydantic` is not installed\n\nhint: pip install -e .\n"


def test_an_error_is_one_object_with_json(process: Avctl, recipe_file: Path):
    done = process("crawl", recipe_file, "--json", "-o", "seed=x")
    found = json.loads(done.stdout)
    assert done.returncode == found["exit"] == 3
    assert found["error"]["kind"] == "recipe" and found["error"]["where"] == "-o seed=x"


def test_colour_is_for_terminals(process: Avctl, recipe_file: Path):
    assert "\x1b" not in process("plan", "absent.py").stderr
    assert "\x1b[" in process("plan", "absent.py", env={"FORCE_COLOR": "1"}).stderr
    assert "\x1b[3" not in process("plan", "absent.py", env={"FORCE_COLOR": "1", "NO_COLOR": "1"}).stderr


def test_a_reader_that_leaves_early_is_no_error(process: Avctl, recipe_file: Path):
    command = f"{sys.executable} -m avctl plan small.py | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
