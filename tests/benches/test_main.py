"""What can be typed behind `python -m benches`."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from avctl.kernels.cases import CASES
from benches.__main__ import BENCHES, LONG, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--readme", "cli"], "`--readme` goes alone"),
        (["cli", "--base", "HEAD", "--json", "a.jsonl"], "`--base` compares"),
        (["cli", "stack", "--seconds", "9"], "`--seconds`: cli cannot be told when to end"),
        (["stack", "--base", "HEAD", "--seconds", "9"], "goes without `--json` and `--seconds`"),
        (["no-such-bench"], "'no-such-bench' is not one of"),
        (["compare", "a.jsonl"], "'a.jsonl' does not exist"),
        (["gpu"], "Missing argument 'FOLDER'"),
        (["report"], "Missing argument 'FILE'"),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], told: str) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and told in done.output


@pytest.mark.parametrize("place", BENCHES.values())
def test_every_bench_is_a_function_that_there_is(place: str) -> None:
    module, _, function = place.partition(".")
    assert callable(getattr(import_module(f"benches.{module}"), function))


def test_an_operation_is_a_bench_that_runs_only_if_it_is_named() -> None:
    assert not BENCHES.keys() & CASES.keys() and {"kernels", *CASES} <= LONG


def test_benches_of_kernels_need_no_decoder_and_no_store() -> None:
    look = "import sys, benches.__main__; print({'av', 'cv2', 'zarr', 'scipy', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
