"""A kill before any single file operation of a run: the same command ends with the same artifacts."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from avctl.artifact import manifest
from avctl.cli.execute import Executor
from avctl.cli.options import Options
from avctl.cli.resolve import resolve
from avctl.job import Job

OPERATIONS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "sqlite3.connect")


def crawl(job: Job) -> None:
    """Three files, each written whole or not at all; what is there already is kept."""
    (job.out / "work").mkdir(exist_ok=True)
    for name in "abc":
        if not (job.out / name).exists():
            (job.out / "work" / name).write_text(name)
            (job.out / "work" / name).rename(job.out / name)
            job.report.log(made=name)


def preprocess(job: Job) -> None:
    (job.out / "all").write_text("".join((job.inputs["crawl"] / name).read_text() for name in "abc"))


def work() -> list[Path]:
    """Crawl and preprocess of a recipe, as the command does them."""
    resolved = resolve("small.py::fine", Options(store=Path("runs"), verbosity=-1))
    with Executor(resolved, run_of={"crawl": crawl, "preprocess": preprocess}.__getitem__) as executor:
        return [path for step in resolved.steps[:2] if (path := executor.make(step))]


def work_until(last: int) -> bool:
    """Whether a process that dies before its file operation number `last` got to its end."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, args: tuple[Any, ...]) -> None:
            nonlocal seen
            if event in OPERATIONS and "runs" in str(args[0]):
                seen += 1
                if seen == last:
                    os._exit(9)

        sys.addaudithook(count)
        try:
            work()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 0


def digests(paths: list[Path]) -> list[str | None]:
    return [manifest.read(path).digest for path in paths]


@pytest.mark.slow
def test_a_kill_before_any_file_operation_loses_nothing(recipe_file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(manifest, "commit", lambda: (None, None))  # two processes less in each of many runs
    expected = digests(work())
    last, is_over = 0, False
    while not is_over:
        last += 1
        shutil.rmtree("runs")
        is_over = work_until(last)
        assert digests(work()) == expected
        assert not list(Path("runs").glob("*/*.partial"))
    assert last > 30
