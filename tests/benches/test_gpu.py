"""One command does all that needs a GPU, ends in time whatever hangs, and keeps what was measured."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benches import attention, ceilings, kernels, race, stack, windows
from benches import gpu as module
from benches.device import Device
from benches.frame import record
from benches.gpu import BENCHES, LAST_S, gpu, measure, picture, run_until, shared

HERE = Device(torch.device("cpu"), torch.float32, 2**20)
SOON_S = 120.0


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "RUNS", 1)
    monkeypatch.setattr(ceilings, "BYTES", {"cpu": 2**20})
    monkeypatch.setattr(race, "ROUNDS", 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(gpu, [str(tmp_path / "out")])
    assert done.exit_code == 1 and "no NVIDIA GPU answers" in done.output and not (tmp_path / "out").exists()


def test_shares_add_up_to_the_time_that_there_is() -> None:
    whole = shared(["tests", *BENCHES], 100.0, 480.0)
    assert [*whole] == ["tests", "kernels", "windows", "attention", "stack"]
    assert whole["tests"] == pytest.approx(100 + 0.25 * (480 - LAST_S))
    assert whole["stack"] == pytest.approx(580 - LAST_S)
    assert shared(["stack"], 100.0, 480.0) == pytest.approx({"stack": 580 - LAST_S})


def test_what_hangs_is_killed_in_time_with_its_children(tmp_path: Path) -> None:
    """Who holds the pipe is alive: it ends when all of them are dead."""
    pipe, begin = tmp_path / "pipe", time.monotonic()
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    command = ["sh", "-c", f"exec 3> '{pipe}'; tail -f /dev/null & echo begun >&3; wait"]
    told = run_until(command, begin + 2.0, tmp_path / "out.txt")
    assert told == "did not end in time, and was killed: see out.txt" and time.monotonic() - begin < 2.0 + LAST_S
    os.set_blocking(reader, True)
    with open(reader) as held:
        assert held.read() == "begun\n"


def test_what_ends_before_is_told_by_its_code(tmp_path: Path) -> None:
    soon = time.monotonic() + SOON_S
    assert run_until([sys.executable, "-c", "print('a')"], soon, tmp_path / "a.txt") is None
    assert (tmp_path / "a.txt").read_text() == "a\n"
    assert run_until([sys.executable, "-c", "exit(3)"], soon, tmp_path / "b.txt") == "left with 3: see b.txt"


def test_a_bench_is_a_process_and_its_failure_is_told(tmp_path: Path) -> None:
    assert measure(tmp_path, "no-such-bench", time.monotonic() + SOON_S) == "left with 2: see no-such-bench.txt"
    assert "is not one of" in (tmp_path / "no-such-bench.txt").read_text()
    assert picture(tmp_path) and os.listdir(tmp_path) == ["no-such-bench.txt"]


def test_an_operation_of_ours_that_failed_is_told_and_those_of_earlier_calls_are_not(tmp_path: Path) -> None:
    line = json.dumps({"bench": "b", "what": "w", "provider": "avctl", "failure": "is not exact"})
    (tmp_path / "no-such-bench.jsonl").write_text(line + "\n")
    assert "is not exact" not in (measure(tmp_path, "no-such-bench", time.monotonic() + SOON_S) or "")


@pytest.mark.parametrize("bench", [windows, attention, stack])
def test_benches_say_what_was_too_late(bench) -> None:
    rows = list(bench.rows(on=HERE, until=0.0))
    assert {row.bench for row in rows} == {"ceilings", bench.BENCH}
    assert rows[-1].failure == "no time was left" and not rows[-1].values


def test_races_for_which_no_time_is_left_are_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, where = list(kernels.rows(on=HERE, until=0.0, sizes=[(40, 16)])), record()
    assert [(row.bench, row.failure) for row in rows] == [
        ("ceilings", None), ("ceilings", None), *((name, "no time was left") for name in kernels.NAMES),
    ]  # fmt: skip
    (tmp_path / "kernels.jsonl").write_text("".join(row.to_json(where) + "\n" for row in rows))
    assert picture(tmp_path) is None
    told = (tmp_path / "table.md").read_text()
    assert capsys.readouterr().out == told and "norm_modulate, 40 x 16: everybody: no time was left" in told
    assert (tmp_path / "roofline.svg").read_text().startswith("<svg ")


@pytest.mark.slow
def test_a_bench_writes_its_rows_in_its_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MARGIN_S", 10 * SOON_S)  # no race begins
    assert measure(tmp_path, "stack", time.monotonic() + 5 * SOON_S) is None
    rows = [json.loads(line) for line in (tmp_path / "stack.jsonl").read_text().splitlines()]
    assert rows[0]["bench"] == "ceilings" and rows[-1]["failure"] == "no time was left"


@pytest.mark.slow
def test_all_cases_are_raced_on_a_processor_as_on_a_gpu() -> None:
    rows = [row for row in kernels.rows(on=HERE, sizes=[(40, 16)]) if "pass" in row.details]
    timed = {(row.bench, row.details["provider"]) for row in rows}
    assert timed >= {(name, provider) for name in kernels.NAMES for provider in ("avctl", "eager", "compile")}
    assert all(row.details["timing"] == "clock" and row.details["packages"]["torch"] for row in rows)
