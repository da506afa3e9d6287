from __future__ import annotations

import signal
import subprocess
import sys
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


def test_a_child_does_not_hear_what_asks_its_parent_to_stop():
    code = "import os, signal, sys; os.kill(os.getpid(), int(sys.argv[1])); print('alive')"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        with job.deaf_children():
            child = subprocess.run([sys.executable, "-c", code, str(int(number))], capture_output=True, text=True)
        assert child.stdout == "alive\n"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM, signal.SIGUSR2}
