from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from avctl.cli.report import StageReport, view_for
from avctl.cli.views import JsonView, PlainView


def test_rows_are_kept_with_their_time_whatever_is_shown(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    with StageReport(path, PlainView(-1)) as report:
        report.log(step=1, loss=np.float32(0.5))
        report.note("hello")
        report.warn("odd")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(row.pop("time") > 0 for row in rows)
    assert rows == [{"step": 1, "loss": 0.5}, {"note": "hello"}, {"warning": "odd"}]


def test_a_row_that_a_kill_cut_short_is_dropped(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"ste')
    with StageReport(path, PlainView(-1)) as report:
        report.log(step=2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_rows_of_steps_that_are_done_again_are_taken_back(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    with StageReport(path, PlainView(0)) as report:
        report.note("first")
        for step in (10, 20, 30):
            report.log(step=step)
        report.rewind(20)
        report.log(step=30, again=True)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row.get("step") for row in rows] == [None, 10, 20, 30] and rows[-1]["again"]
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_the_view_follows_the_terminal_and_the_options():
    assert isinstance(view_for(as_json=True, verbosity=0), JsonView)
    assert isinstance(view_for(as_json=False, verbosity=0), PlainView)  # pytest is no terminal
