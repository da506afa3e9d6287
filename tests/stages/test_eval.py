"""The eval stage on clips whose scores are known beforehand: the real ones, the real ones with wrong sound, a wreck."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from avctl.errors import InputError, Interrupted
from avctl.job import Job
from avctl.media.mux import write_mp4
from avctl.media.synthetic import Scene, render
from avctl.schema import MDCT, Clip, Eval, Haar, Preprocess, Recipe, Synthetic
from avctl.stages import eval as stage
from avctl.store.index import place_columns, write_index
from avctl.store.layout import layout
from avctl.store.writer import Writer

CLIP = Clip(seconds=2.0, size=(32, 32), fps=16, sample_rate=16_000, channels=2)
NUM_CLIPS = 12


class Quiet:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def progress(self, name: str, done: int, total: int | None = None, **figures: Any) -> None: ...

    def log(self, **metrics: Any) -> None:
        self.rows.append(metrics)

    def rewind(self, step: int) -> None: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


def scenes(count: int) -> list[Scene]:
    spec = Synthetic(count=count, seed=11, size=CLIP.size)
    return [render(index, spec) for index in range(count)]


def write_store(artifact: Path, real: list[Scene]) -> None:
    plan = layout(CLIP)
    artifact.mkdir(parents=True)
    writer = Writer(artifact / "clips.zarr")
    rows = []
    for i, scene in enumerate(real):
        audio = np.rint(scene.audio * 32_767).astype(np.int16)
        places = {
            "video": writer.append(plan.video[CLIP.size], scene.frames),
            "audio": writer.append(plan.audio, audio),
        }
        row: dict[str, Any] = {
            "clip_id": f"{i:03d}",
            "source_sha256": f"{i}",
            "start_s": 0.0,
            "split": "test",
            "skew": 0.0,
        }
        row |= {"caption": scene.caption, "truth": json.dumps(scene.truth), "key": "k", "padded": 0}
        rows.append(row | place_columns(places))
    writer.close()
    write_index(artifact / "index.sqlite", [], rows, {})
    (artifact / "funnel.html").write_text("<h1>funnel</h1>")


def write_set(artifact: Path, name: str, real: list[Scene], sound_of: int, with_truth: bool = True) -> None:
    """Real frames with the sound of the clip `sound_of` places further on."""
    (artifact / name / "clips").mkdir(parents=True)
    rows = []
    for i, scene in enumerate(real):
        file = f"clips/{i:05d}.mp4"
        audio = real[(i + sound_of) % len(real)].audio
        write_mp4(artifact / name / file, scene.frames, audio, CLIP.fps, CLIP.sample_rate)
        row = {"index": i, "file": file, "prompt": scene.caption, "seed": 0, "task": "text_to_both", "split": "test"}
        rows.append(row | {"clip_id": f"{i:03d}" if with_truth else None, "truth": scene.truth if with_truth else None})
    (artifact / name / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, real = tmp_path_factory.mktemp("inputs"), scenes(NUM_CLIPS)
    write_store(folder / "preprocess", real)
    sample = folder / "sample"
    write_set(sample, "right", real, sound_of=0)
    write_set(sample, "wrong-sound", real, sound_of=1)
    write_set(sample, "prompts", real[:3], sound_of=0, with_truth=False)
    (sample / "right/clips/00003.mp4").write_bytes((sample / "right/clips/00003.mp4").read_bytes()[:900])
    names = [{"name": name, "task": "text_to_both", "split": "test"} for name in ("right", "wrong-sound", "prompts")]
    (sample / "sets.json").write_text(json.dumps(names))
    return {"sample": sample, "preprocess": folder / "preprocess"}


def job(out: Path, inputs: dict[str, Path], **spec: Any) -> Job:
    recipe = Recipe(
        name="known",
        clip=CLIP,
        preprocess=Preprocess(video_codec=Haar(), audio_codec=MDCT()),
        eval=Eval(resamples=50, examples=2, **spec),
    )
    out.mkdir(exist_ok=True)
    return Job(recipe, inputs, out, Quiet(), Event())


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, inputs: dict[str, Path]) -> Path:
    out = tmp_path_factory.mktemp("eval") / "out"
    stage.run(job(out, inputs))
    return out


@pytest.fixture(scope="module")
def scores(done: Path) -> dict[str, Any]:
    return json.loads((done / "scores.json").read_text())


def test_real_clips_are_as_good_as_real_clips_but_for_the_wreck(scores: dict[str, Any]) -> None:
    right = scores["right"]
    for name in ("colour", "family", "pitch"):
        assert right[name]["value"] == pytest.approx(100 * (NUM_CLIPS - 1) / NUM_CLIPS)  # one cannot be decoded
        assert right[name]["ceiling"] == 100 and right[name]["failed"] == 1 and right[name]["used"] == NUM_CLIPS
        assert right[name]["interval"][0] < right[name]["value"] <= right[name]["interval"][1]
    assert right["event error / chance"]["value"] < 0.15
    assert right["onset F1 within 100 ms"]["value"] > 0.85  # the wreck has missed all of its own
    assert right["onset F1 within 100 ms"]["ceiling"] > 0.97


def test_wrong_sound_is_no_better_than_chance(scores: dict[str, Any]) -> None:
    wrong = scores["wrong-sound"]
    assert wrong["event error / chance"]["value"] > 0.7
    assert wrong["pitch"]["value"] < 60 and wrong["colour"]["value"] == 100
    assert wrong["AV-Align beyond chance"]["value"] < scores["right"]["AV-Align beyond chance"]["value"] / 2
    assert wrong["onset F1 within 50 ms"]["value"] < scores["right"]["onset F1 within 50 ms"]["value"] / 2


def test_every_score_has_its_record_and_what_chance_gets(scores: dict[str, Any]) -> None:
    for group in (scores["right"], scores["wrong-sound"]):
        for name, score in group.items():
            assert score["record"]["decoder"].startswith("PyAV") and score["record"]["metric"] == name
            assert score["floors"] or score["chance"] is not None or score["higher_is_better"] is None
            assert score["ceiling"] is not None and score["codec_ceiling"] is not None and score["interval"]


def test_clips_without_a_truth_have_no_adherence_but_alignment(scores: dict[str, Any]) -> None:
    assert "colour" not in scores["prompts"]
    assert scores["prompts"]["AV-Align"]["value"] > 0


def test_codecs_that_are_exact_lose_nothing(scores: dict[str, Any]) -> None:
    codecs = scores["codecs"]
    assert codecs["PSNR"]["value"] > 60 > codecs["PSNR"]["floors"]["mean frame"]
    assert codecs["SSIM"]["value"] > 0.999
    assert codecs["mel distance"]["value"] < 0.1 < codecs["mel distance"]["floors"]["silence"]
    assert codecs["SI-SDR"]["value"] > 60


def test_the_same_clips_give_the_same_bytes(tmp_path: Path, done: Path, inputs: dict[str, Path]) -> None:
    out = tmp_path / "out"
    stage.run(job(out, inputs))
    assert (out / "scores.json").read_bytes() == (done / "scores.json").read_bytes()
    places = [re.sub(r'href="[^"]*funnel.html"', "", (o / "report.html").read_text()) for o in (out, done)]
    assert places[0] == places[1]


def test_only_what_the_recipe_names_is_measured(tmp_path: Path, inputs: dict[str, Path]) -> None:
    stage.run(job(tmp_path / "out", inputs, metrics=("onsets",)))
    measured = json.loads((tmp_path / "out/scores.json").read_text())
    assert set(measured) == {"right", "wrong-sound", "prompts"}
    assert all(name.startswith("onset") for group in measured.values() for name in group)


def test_a_stop_is_heard(tmp_path: Path, inputs: dict[str, Path]) -> None:
    stopped = job(tmp_path / "out", inputs)
    stopped.stop.set()
    with pytest.raises(Interrupted):
        stage.run(stopped)


def test_a_damaged_sample_artifact_is_refused(tmp_path: Path, inputs: dict[str, Path]) -> None:
    (tmp_path / "sample").mkdir()
    with pytest.raises(InputError, match="no sample artifact"):
        stage.run(job(tmp_path / "out", {**inputs, "sample": tmp_path / "sample"}))


def test_the_report_needs_no_network(done: Path) -> None:
    text = (done / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)(?!(?:\.\./)+[\w./-]*funnel.html")[^"]*"', text)
    assert "http" not in re.sub(r"data:[^\"]*", "", text)


def test_a_browser_opens_the_report(done: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine: `apt-get install chromium`")
    said: list[str] = []
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"]).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((done / "report.html").as_uri())
        page.wait_for_function("[...document.querySelectorAll('video')].every(video => video.readyState > 0)")
        seconds = page.eval_on_selector_all("video", "videos => videos.map(video => video.duration)")
    assert not said
    assert len(seconds) == 6 and seconds == pytest.approx([2.0] * 6)  # two a set
