"""The stage on real files: same bytes however it ran, nothing lost, every file accounted for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from avctl.artifact.letters import dead_letters
from avctl.errors import MachineError
from avctl.job import InputError, Interrupted, Job, StageError
from avctl.media.engines import build
from avctl.media.engines.dali import has_gpu
from avctl.recipe import replace
from avctl.schema import (
    MDCT,
    Clip,
    Crawl,
    Decode,
    Directory,
    Filters,
    Haar,
    Integrity,
    Preprocess,
    Ray,
    Recipe,
    Runtime,
    Split,
)
from avctl.stages.preprocess import PRODUCTS, run
from avctl.store.reader import ClipStore

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

Write = Callable[..., Any]
RECIPE = Recipe(
    name="small",
    clip=Clip(seconds=0.5, size=(16, 16), fps=16, sample_rate=16_000),
    crawl=Crawl(sources=(Directory(path=Path("videos")),)),
    preprocess=Preprocess(shard_files=3, video_codec=Haar(down=4), audio_codec=MDCT()),
    runtime=Runtime(workers=1),
)


class Said:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.stop_at: tuple[Event, int] | None = None
        self.total: int | None = None

    def progress(self, name: str, done: int, total: int | None = None, **figures: Any) -> None:
        self.total = total
        if self.stop_at and done >= self.stop_at[1]:
            self.stop_at[0].set()

    def log(self, **metrics: Any) -> None: ...
    def rewind(self, step: int) -> None: ...
    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory, write_source: Write, write_crawl: Write) -> Path:
    """Seven good files, one of them for the split `unseen`, one twice in other bytes, an empty one and a text."""
    folder = tmp_path_factory.mktemp("crawl")
    rows: list[dict[str, Any]] = []
    for seed in range(7):
        write_source(folder / f"{seed}.mp4", seed)
        truth = json.dumps({"events_s": [0.1, 0.7], "colour": "red"})
        rows.append({"file": folder / f"{seed}.mp4", "caption": f"clip {seed}", "truth": truth})
    rows[6]["split"] = "unseen"
    (folder / "again.mp4").write_bytes((folder / "3.mp4").read_bytes() + b"\0\0\0\x08free")
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a film")
    rows += [{"file": folder / name} for name in ("again.mp4", "empty.mp4", "text.mp4")]
    return write_crawl(folder / "artifact", rows)


def job(out: Path, crawl: Path, recipe: Recipe = RECIPE, retry: bool = False) -> Job:
    out.mkdir(parents=True, exist_ok=True)
    return Job(recipe, {"crawl": crawl}, out, Said(), Event(), retry)


def with_preprocess(**changes: Any) -> Recipe:
    assert RECIPE.preprocess is not None
    return replace(RECIPE, preprocess=replace(RECIPE.preprocess, **changes))


def digest(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, crawl: Path) -> Path:
    """The artifact of an undisturbed run."""
    out = tmp_path_factory.mktemp("done") / "out"
    run(job(out, crawl))
    return out


def test_every_file_is_accounted_for(done: Path) -> None:
    counts = json.loads((done / "funnel.json").read_text())
    files, clips = counts["files"], counts["clips"]
    assert files["given"] == 10
    assert {reason: line["count"] for reason, line in files["quarantined"].items()} == {"empty": 1, "not_media": 1}
    assert files["quarantined"]["empty"]["examples"] == ["empty.mp4"]
    assert clips["dropped"]["duplicate"]["count"] == 1
    assert clips["kept"] == 7
    lost = sum(line["count"] for line in files["quarantined"].values()) + files["too_short"]["count"]
    assert files["given"] == lost + files["all_clips_dropped"]["count"] + files["used"]
    assert "text.mp4" in (done / "funnel.html").read_text()
    assert not (done / "work").exists()


def test_clips_come_with_caption_truth_and_split(done: Path) -> None:
    rows = ClipStore(done).clips()
    assert len(rows) == 7
    assert [row.clip_id for row in rows] == sorted(row.clip_id for row in rows)
    assert {row.caption for row in rows} <= {"", *(f"clip {seed}" for seed in range(7))}
    assert [row.caption for row in ClipStore(done).clips("unseen")] == ["clip 6"]
    for row in rows:
        assert row.truth is None or row.truth == {"events_s": [0.1], "colour": "red"}
        assert abs(row.skew) <= 1
        assert row.scores["fps"] == 16


def test_latents_are_those_of_the_stored_clips(done: Path) -> None:
    import torch

    from avctl.codecs.build import build_video_codec

    store = ClipStore(done)
    rows = store.clips()
    video, audio = (
        store.stack([place for row in rows if (place := getattr(row, kind))])
        for kind in ("video_latents", "audio_latents")
    )
    assert RECIPE.preprocess is not None and RECIPE.preprocess.video_codec is not None
    codec = build_video_codec(RECIPE.preprocess.video_codec, RECIPE.clip, None)
    decoded = codec.decode(torch.from_numpy(video).float()).permute(0, 1, 3, 4, 2)
    frames = np.stack([store.frames(row) for row in rows])
    assert np.abs((decoded.numpy() + 1) * 127.5 - frames).max() < 2
    assert audio.shape[:2] == (7, 26)


def test_the_same_recipe_gives_the_same_bytes_with_more_workers(done: Path, crawl: Path, tmp_path: Path) -> None:
    run(job(tmp_path / "out", crawl, replace(RECIPE, runtime=Runtime(workers=3))))
    assert digest(tmp_path / "out") == digest(done)


def test_an_interrupted_run_is_picked_up_and_gives_the_same_bytes(done: Path, crawl: Path, tmp_path: Path) -> None:
    first = job(tmp_path / "out", crawl)
    assert isinstance(first.report, Said)
    first.report.stop_at = (first.stop, 4)
    with pytest.raises(Interrupted):
        run(first)
    assert list((tmp_path / "out" / "work").glob("0*"))
    run(job(tmp_path / "out", crawl))
    assert digest(tmp_path / "out") == digest(done)


def test_a_trial_takes_the_first_files_by_their_hash(done: Path, crawl: Path, tmp_path: Path) -> None:
    run(job(tmp_path / "out", crawl, with_preprocess(max_samples=4)))
    with closing(sqlite3.connect(tmp_path / "out" / "index.sqlite")) as index:
        names = [sha256 for (sha256,) in index.execute("SELECT sha256 FROM sources")]
    with closing(sqlite3.connect(crawl / "ledger.sqlite")) as ledger:
        assert names == [h for (h,) in ledger.execute("SELECT sha256 FROM files ORDER BY sha256 LIMIT 4")]
    counts = json.loads((tmp_path / "out" / "funnel.json").read_text())
    assert (counts["crawl"]["found"], counts["crawl"]["beyond_max_samples"]) == (10, 6)


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes(done: Path, crawl: Path, tmp_path: Path, ray_cluster: Cluster) -> None:
    assert ray_cluster.address
    on_ray = replace(RECIPE, runtime=Runtime(pool=Ray(address=ray_cluster.address)))
    here = os.path.relpath(tmp_path / "out")  # the workers of a cluster stand elsewhere
    run(job(Path(here), Path(os.path.relpath(crawl)), on_ray))
    assert digest(tmp_path / "out") == digest(done)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_preprocess import job
from avctl.stages.preprocess import PRODUCTS, run
if __name__ == "__main__":
    run(job(Path(sys.argv[2]), Path(sys.argv[3])))
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_and_repeats_nothing(done: Path, crawl: Path, tmp_path: Path) -> None:
    (tmp_path / "go.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "go.py"), str(Path(__file__).parent), str(tmp_path / "out"), str(crawl)]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    whole = time.perf_counter() - start
    assert digest(tmp_path / "out") == digest(done)
    shutil.rmtree(tmp_path / "out")
    for share in np.random.default_rng(0).uniform(0.3, 1.0, 10):
        process = subprocess.Popen(command, start_new_session=True)
        try:
            process.wait(timeout=whole * share)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    subprocess.run(command, check=True)
    assert digest(tmp_path / "out") == digest(done)


def test_too_many_damaged_files_fail_the_stage_loudly(done: Path, crawl: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    strict = with_preprocess(integrity=Integrity(max_rejected=0.1))
    with pytest.raises(StageError, match=r"2 of 10 files are refused: 1 empty, 1 not_media") as caught:
        run(job(out, crawl, strict))
    assert "--failed" in str(caught.value.hint) and "max_rejected" in str(caught.value.hint)
    assert sorted(row["reason"] for row in dead_letters(out)) == ["empty", "not_media"]
    assert "text.mp4" in (out / "funnel.html").read_text()
    run(job(out, crawl))  # the failed run leaves nothing behind that is taken for finished
    assert digest(out) == digest(done)


def test_filters_that_leave_nothing_say_which(crawl: Path, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"no clip is left .*height"):
        run(job(tmp_path / "out", crawl, with_preprocess(filters=Filters(min_height=480))))
    assert "dropped: height" in (tmp_path / "out" / "funnel.html").read_text()


def test_a_dropped_clip_keeps_its_scores(done: Path, crawl: Path, tmp_path: Path) -> None:
    middle = float(np.median([row.scores["sharpness"] or 0 for row in ClipStore(done).clips()]))
    run(job(tmp_path / "out", crawl, with_preprocess(filters=Filters(min_sharpness=middle))))
    with closing(sqlite3.connect(tmp_path / "out" / "index.sqlite")) as index:
        rows = index.execute("SELECT sharpness, snr_db, video_offset FROM clips WHERE reason = 'blur'").fetchall()
        assert index.execute("SELECT count(*) FROM clips").fetchone() == (8,)
    assert len(ClipStore(tmp_path / "out").clips()) == 4
    assert rows
    assert all(sharpness < middle and snr is not None and offset is None for sharpness, snr, offset in rows)


@pytest.fixture
def lacking(crawl: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A crawl, and what was made of it while one of its files could not be found."""
    moved, out = tmp_path / "crawl", tmp_path / "out"
    shutil.copytree(crawl, moved)
    with closing(sqlite3.connect(moved / "ledger.sqlite")) as ledger:
        path = moved / ledger.execute("SELECT path FROM files WHERE url = '2.mp4'").fetchone()[0]
    path.rename(tmp_path / "hidden")
    run(job(out, moved))
    (tmp_path / "hidden").rename(path)
    run(job(out, moved))  # finished is finished
    assert len(ClipStore(out).clips()) == 6
    return moved, out


def num_retried(crawl: Path, out: Path, recipe: Recipe = RECIPE) -> int | None:
    again = job(out, crawl, recipe, retry=True)
    run(again)
    assert isinstance(again.report, Said)
    return again.report.total


def test_retry_tries_refused_files_and_no_others(done: Path, lacking: tuple[Path, Path]) -> None:
    assert num_retried(*lacking) == 3  # one that is back, two that never were films
    assert digest(lacking[1]) == digest(done)


@pytest.mark.parametrize("moved", range(len(PRODUCTS)))
def test_a_retry_that_was_killed_goes_on(done: Path, lacking: tuple[Path, Path], moved: int) -> None:
    """Between any two products that it puts aside, and then among the files."""
    crawl, out = lacking
    aside = out / "work" / "earlier"
    aside.mkdir(parents=True)
    for name in PRODUCTS[:moved]:
        (out / name).rename(aside / name)
    again = job(out, crawl, retry=True)
    assert isinstance(again.report, Said)
    again.report.stop_at = (again.stop, 1)
    with pytest.raises(Interrupted):
        run(again)
    assert not (out / PRODUCTS[-1]).exists()
    run(job(out, crawl))
    assert digest(out) == digest(done)


def test_a_retry_that_was_killed_before_it_could_clean_up_is_finished(lacking: tuple[Path, Path]) -> None:
    shutil.copytree(lacking[1], lacking[1] / "work" / "earlier")
    before = digest(lacking[1])
    assert num_retried(*lacking) is None
    assert digest(lacking[1]) == {name: value for name, value in before.items() if not name.startswith("work/")}


def test_clips_that_another_codec_made_are_not_kept(lacking: tuple[Path, Path]) -> None:
    assert num_retried(*lacking, with_preprocess(video_codec=Haar(down=2))) == 10


def test_pixels_alone_need_no_codec(crawl: Path, tmp_path: Path) -> None:
    run(job(tmp_path / "out", crawl, with_preprocess(video_codec=None, audio_codec=None, split=Split(kind="test"))))
    store = ClipStore(tmp_path / "out")
    assert store.clips()[0].video_latents is None
    assert {row.split for row in store.clips()} == {"test", "unseen"}


def test_files_without_sound_give_pictures_alone_where_the_recipe_says_so(
    tmp_path: Path, write_source: Write, write_crawl: Write
) -> None:
    """Also when they are taken over by a retry."""
    write_source(tmp_path / "heard.mp4", 1)
    write_source(tmp_path / "mute.mp4", 2, loudness=0.0)
    (tmp_path / "empty.mp4").touch()
    mixed = write_crawl(tmp_path / "mixed", [{"file": tmp_path / f"{name}.mp4"} for name in ("heard", "mute", "empty")])
    with pytest.raises(StageError, match="1 silent_audio"):
        run(job(tmp_path / "strict", mixed))
    lenient = with_preprocess(integrity=Integrity(needs_sound=False))
    out = tmp_path / "out"
    for retry in (False, True):
        run(job(out, mixed, lenient, retry))
        store = ClipStore(out)
        mute, heard = sorted(store.clips(), key=lambda row: row.audio is not None)
        assert mute.audio is None and mute.audio_latents is None and mute.scores["loudness_db"] is None
        assert store.frames(mute).shape == store.frames(heard).shape and heard.audio_latents
        assert mute.video_latents and heard.video_latents
        assert store.shape(mute.video_latents) == store.shape(heard.video_latents)
        files = json.loads((out / "funnel.json").read_text())["files"]
        assert files["without_sound"] == {"count": 1, "examples": ["mute.mp4"]}


def test_the_engine_of_every_clip_is_told_and_why_it_is_not_the_one_asked_for(crawl: Path, tmp_path: Path) -> None:
    """DALI decodes no H.264 on a processor, and on a GPU none of 16 pixels."""
    work = job(tmp_path / "out", crawl, with_preprocess(decode=Decode(engine="dali")))
    run(work)
    with closing(sqlite3.connect(tmp_path / "out" / "index.sqlite")) as index:
        assert {engine for (engine,) in index.execute("SELECT engine FROM clips WHERE reason IS NULL")} == {"pyav"}
        reasons = [reason for (reason,) in index.execute("SELECT fallback FROM sources") if reason]
    counts = json.loads((tmp_path / "out" / "funnel.json").read_text())["files"]
    (reason,) = set(reasons)
    assert reason == ("refused" if has_gpu() else "codec")
    assert counts["fell_back"][reason]["count"] == len(reasons) >= counts["used"] > 0
    assert f"decoded by PyAV: {reason}" in (tmp_path / "out" / "funnel.html").read_text()
    assert isinstance(work.report, Said)
    assert any(f"decoded by PyAV instead: {reason}" in warning for warning in work.report.warnings)


def test_an_engine_that_is_not_installed_is_said_before_any_work(
    crawl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.cache_clear()
    monkeypatch.setitem(sys.modules, "nvidia", None)
    with pytest.raises(MachineError, match="nvidia-dali"):
        run(job(tmp_path / "out", crawl, with_preprocess(decode=Decode(engine="dali"))))


def test_a_crawl_without_files_is_an_input_error(tmp_path: Path, write_crawl: Write) -> None:
    with pytest.raises(InputError, match="no files"):
        run(job(tmp_path / "out", write_crawl(tmp_path / "crawl", [])))


def test_another_codec_is_another_key(done: Path, crawl: Path, tmp_path: Path) -> None:
    run(job(tmp_path / "out", crawl, with_preprocess(video_codec=Haar(down=2))))
    ours, theirs = ({row.clip_id: row.key for row in ClipStore(out).clips()} for out in (done, tmp_path / "out"))
    assert ours.keys() == theirs.keys()
    assert not set(ours.values()) & set(theirs.values())
