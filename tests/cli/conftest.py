"""Commands whose stages a test brings along, run in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DRIVER = """
import sys
from pathlib import Path
from avctl.cli.execute import Executor
from avctl.cli.main import exit_code
from avctl.cli.options import Options
from avctl.cli.resolve import resolve
from avctl.cli.signals import Stopper
from avctl.errors import *

OPTIONS = Options(store=Path("runs"))
GRACE_S = 60.0

def crawl(job):
    job.report.progress("files", 1, 1)
    (job.out / "data").write_text("crawl")

def preprocess(job):
    (job.out / "data").write_text((job.inputs["crawl"] / "data").read_text() + " preprocess")

{body}

def work():
    resolved = resolve("small.py::fine", OPTIONS)
    with Executor(resolved, run_of=globals().__getitem__, stopper=Stopper(GRACE_S)) as executor:
        for step in resolved.steps[:2]:
            print(executor.make(step), flush=True)

sys.exit(exit_code(work, OPTIONS.as_json))
"""

Drive = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def drive(recipe_file: Path) -> Drive:
    """Crawl and preprocess of `small.py::fine` by the stages (and constants) that `body` defines."""

    def drive(body: str = "") -> subprocess.Popen[str]:
        Path("driver.py").write_text(DRIVER.replace("{body}", body))
        environment, pipe = {**os.environ, "PYTHONUNBUFFERED": "1"}, subprocess.PIPE
        command = [sys.executable, "driver.py"]
        return subprocess.Popen(command, text=True, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)

    return drive


@pytest.fixture
def finish(drive: Drive) -> Callable[..., tuple[int, str, str]]:
    """Exit code, standard output and standard error of a driven command."""

    def finish(body: str = "") -> tuple[int, str, str]:
        process = drive(body)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    return finish
