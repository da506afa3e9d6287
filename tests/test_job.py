from __future__ import annotations

from pathlib import Path
from threading import Event

from avctl import errors, job
from avctl.cli.report import StageReport
from avctl.cli.views import PlainView
from avctl.recipe import load
from avctl.schema import Recipe


def test_stages_find_their_failures_beside_the_job():
    assert job.StageError is errors.StageError and job.Interrupted is errors.Interrupted


def test_a_job_is_complete_with_a_recipe_inputs_a_folder_and_a_reporter(recipe_file: Path, tmp_path: Path):
    with StageReport(tmp_path / "log.jsonl", PlainView(-1)) as report:
        made = job.Job(load(recipe_file, Recipe), {"crawl": tmp_path}, tmp_path, report, Event())
    assert not made.retry and not made.stop.is_set()
