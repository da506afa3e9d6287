"""One command does all that needs a GPU, and writes what it did as it goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from avctl.kernels.cases import CASES
from benches import ceilings, race
from benches.device import Device
from benches.gpu import gpu, measure

HERE = Device(torch.device("cpu"), torch.float32, 2**20)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "RUNS", 1)
    monkeypatch.setattr(ceilings, "BYTES", {"cpu": 2**20})
    monkeypatch.setattr(race, "ROUNDS", 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(gpu, [str(tmp_path / "out")])
    assert done.exit_code == 1 and "no NVIDIA GPU answers" in done.output and not (tmp_path / "out").exists()


def test_races_for_which_no_time_is_left_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure(tmp_path, HERE, 0.0, ["kernels"], sizes=[(40, 16)])
    rows = [json.loads(line) for line in (tmp_path / "kernels.jsonl").read_text().splitlines()]
    assert [(row["bench"], row["failure"]) for row in rows] == [
        ("ceilings", None), ("ceilings", None), *((name, "no time was left") for name in CASES),
    ]  # fmt: skip
    told = (tmp_path / "table.md").read_text()
    assert capsys.readouterr().out == told and "norm_modulate, 40 x 16: everybody: no time was left" in told
    assert (tmp_path / "roofline.svg").read_text().startswith("<svg ")


def test_benches_share_the_time_and_say_what_was_too_late(tmp_path: Path) -> None:
    assert measure(tmp_path, HERE, 0.0, ["windows", "attention", "stack"])
    for name in ("windows", "attention", "stack"):
        rows = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        assert {row["bench"] for row in rows} == {"ceilings", name}
        assert rows[-1]["failure"] == "no time was left" and rows[-1]["runs"] == 0
    assert not (tmp_path / "table.md").exists()


@pytest.mark.slow
def test_all_cases_are_raced_on_a_processor_as_on_a_gpu(tmp_path: Path) -> None:
    assert measure(tmp_path, HERE, float("inf"), ["kernels"], sizes=[(40, 16)])
    rows = [json.loads(line) for line in (tmp_path / "kernels.jsonl").read_text().splitlines()]
    timed = {(row["bench"], row["provider"]) for row in rows if "pass" in row}
    assert timed >= {(name, provider) for name in CASES for provider in ("avctl", "eager", "compile")}
    assert all(row["timing"] == "clock" and row["device"] and row["packages"]["torch"] for row in rows if "pass" in row)
