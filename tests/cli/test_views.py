from __future__ import annotations

import json
import time

import pytest

from avctl.cli import views
from avctl.cli.views import JsonView, Pace, PlainView, RichView, duration, progress_line, shown


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds, as a list of one number that a test sets."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_rate_and_time_left_count_from_where_this_run_began(clock: list[float]):
    pace = Pace(done=100)
    clock[0] = 10.0
    assert pace.rate(150) == 5.0
    assert pace.left_s(150, 200) == 10.0
    assert pace.left_s(100, 200) is None and pace.left_s(150, None) is None
    assert progress_line("fetch", 150, 200, pace, {"dead": 1}) == "fetch 150/200, 5/s, 10 s left, dead 1"
    assert progress_line("train", 101, 200, pace, {"loss": 0.12345}) == "train 101/200, 0.1/s, 16:30 left, loss 0.1235"


def test_a_log_gets_one_line_an_interval_and_the_last_one(clock: list[float], capsys: pytest.CaptureFixture[str]):
    view = PlainView(interval_s=10.0)
    view.begin("crawl", "title")
    for second in range(31):
        clock[0] = float(second)
        view.progress("files", second, 30, {})
    view.progress("files", 30, 30, {})
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "title",
        "crawl: files 10/30",
        "crawl: files 20/30",
        "crawl: files 30/30",
    ]


def test_verbosity_is_obeyed(capsys: pytest.CaptureFixture[str]):
    for view in (PlainView(-1), RichView(-1)):
        view.begin("s", "title")
        view.progress("x", 1, 1, {})
        view.note("note")
        view.log({"a": 1})
        view.warn("odd")
        view.end()
        assert capsys.readouterr().err == "warning: odd\n"
    for view in (PlainView(1), RichView(1)):
        view.log({"loss": 0.5})
        assert "loss 0.5" in capsys.readouterr().err


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str]):
    view = JsonView(1)
    view.begin("crawl", "title")
    view.progress("files", 1, 2, {"dead": 0})
    view.log({"loss": 0.5})
    view.warn("odd")
    view.end()
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert [row["event"] for row in rows] == ["begin", "progress", "log", "warning", "end"]
    assert rows[1]["phase"] == "files" and rows[1]["total"] == 2 and rows[1]["stage"] == "crawl"


def test_ten_thousand_items_are_few_json_lines_and_the_last_one_is_told(
    clock: list[float], capsys: pytest.CaptureFixture[str]
):
    view = JsonView()
    for number in range(1, 10_001):
        clock[0] = number / 10_000
        view.progress("files", number, 10_000, {})
    rows = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(rows) <= 12 and [rows[0]["done"], rows[-1]["done"]] == [1, 10_000]


def test_bars_show_rate_and_what_comes_with_them(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    view = RichView()
    view.begin("crawl", "crawl x")
    view.progress("files", 1, 4, {"dead": 2})
    view.close()
    err = capsys.readouterr().err
    assert "files" in err and "1/4" in err and "dead 2" in err


def test_markup_in_a_message_is_text(capsys: pytest.CaptureFixture[str]):
    RichView().say("[bold]x[/bold] runs/[a]")
    assert capsys.readouterr().err == "[bold]x[/bold] runs/[a]\n"


def test_numbers_and_times_are_short():
    assert [duration(s) for s in (5.4, 65, 3_723)] == ["5 s", "1:05", "1:02:03"]
    assert shown({"a": 1, "b": 0.000012345, "c": "x"}) == "a 1, b 1.234e-05, c x"
    assert views.INTERVAL_S > 1
