"""A trained artifact: what is in it, that it is the same twice, and the same after any accident."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from avctl.codecs import build_video_codec
from avctl.job import InputError, Interrupted, Job, MachineError
from avctl.models import pretrained
from avctl.recipe import replace as change
from avctl.schema import FrameAutoencoder, JointDiT, Preprocess, Recipe, TrainAutoencoder, Trained, WordEncoder
from avctl.stages import train

WEIGHTS = "model.safetensors"


def rows(report: Any) -> dict[int, dict[str, Any]]:
    """Rows of the log by step, without what tells the time."""
    return {row["step"]: {name: x for name, x in row.items() if name != "items_per_s"} for row in report.rows}


@pytest.fixture
def training(tiny: Recipe, tiny_store: Path, job: Callable[..., Job]) -> Callable[..., Job]:
    """A train job of `tiny` with some fields of its train section changed."""

    def make(out: str = "out", **fields: Any) -> Job:
        assert tiny.train
        recipe = tiny.model_copy(update={"train": tiny.train.model_copy(update=fields)})
        return job(recipe, out, preprocess=tiny_store)

    return make


@pytest.fixture
def autoencoder(tiny: Recipe) -> Recipe:
    return Recipe(
        name="codec",
        clip=tiny.clip,
        preprocess=Preprocess(),
        model=FrameAutoencoder(down=8, channels=4, width=16),
        train=TrainAutoencoder(steps=5, batch=8, dtype="float32", save_every=2),
        runtime=tiny.runtime,
    )


def test_the_artifact_holds_the_averaged_model_and_nothing_of_the_work(training: Callable[..., Job]) -> None:
    job = training()
    train.run(job)
    assert {path.name for path in job.out.iterdir()} == {"config.json", WEIGHTS}
    assert list(rows(job.report)) == [1, 2, 3, 4, 5, 6]
    model = pretrained.trained(job.recipe, job.out, None)
    assert all(weight.isfinite().all() for weight in model.generator.parameters())
    assert model.generator.scale.video_std.min() > 0 and not torch.equal(
        model.generator.scale.audio_mean, torch.zeros(16)
    )


def test_captions_that_are_not_read_to_their_end_are_counted(training: Callable[..., Job]) -> None:
    job = training(steps=1)
    assert isinstance(job.recipe.model, JointDiT)
    text = WordEncoder(vocabulary=256, max_tokens=2)
    short = job.recipe.model_copy(update={"model": job.recipe.model.model_copy(update={"text": text})})
    train.run(replace(job, recipe=short))
    assert any("9 of 9 captions are longer than the 2 tokens" in said for said in job.report.said)  # pyright: ignore


def test_training_twice_gives_equal_bytes_and_another_seed_others(training: Callable[..., Job]) -> None:
    first, second, other = training("a"), training("b"), training("c")
    for job in (first, second):
        train.run(job)
    train.run(Job(other.recipe.model_copy(update={"seed": 1}), other.inputs, other.out, other.report, other.stop))
    assert (first.out / WEIGHTS).read_bytes() == (second.out / WEIGHTS).read_bytes()
    assert rows(first.report) == rows(second.report)
    assert (first.out / WEIGHTS).read_bytes() != (other.out / WEIGHTS).read_bytes()


def test_two_threads_train_the_same_model_every_time(training: Callable[..., Job]) -> None:
    weights = []
    for job in (training("a"), training("b")):
        runtime = job.recipe.runtime.model_copy(update={"threads": 2})
        recipe = job.recipe.model_copy(update={"runtime": runtime})
        train.run(Job(recipe, job.inputs, job.out, job.report, job.stop))
        weights.append((job.out / WEIGHTS).read_bytes())
    assert weights[0] == weights[1]
    torch.set_num_threads(1)


@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_a_stopped_run_goes_on_to_the_same_bytes(training: Callable[..., Job], stop_after: int) -> None:
    undisturbed, job = training("undisturbed"), training()
    train.run(undisturbed)
    job.report.on_row = lambda row: job.stop.set() if row["step"] == stop_after else None  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Interrupted):
        train.run(job)
    assert (job.out / "work" / "checkpoints" / f"step-{stop_after:08d}").is_dir()
    job.stop.clear()
    train.run(job)
    assert (job.out / WEIGHTS).read_bytes() == (undisturbed.out / WEIGHTS).read_bytes()
    assert rows(job.report) == rows(undisturbed.report)


@pytest.fixture
def mixed(
    tiny: Recipe, tmp_path: Path, clips: Callable[[Path, Recipe], Path], job: Callable[..., Job]
) -> Callable[..., Job]:
    """A train job on clips of two lengths and two sizes."""
    recipe = change(tiny, clip=change(tiny.clip, other_seconds=(0.5,), other_sizes=((16, 32),)))
    (tmp_path / "mixed").mkdir()
    store = clips(tmp_path / "mixed", recipe)

    def make(out: str, **runtime: Any) -> Job:
        return job(
            recipe.model_copy(update={"runtime": recipe.runtime.model_copy(update=runtime)}), out, preprocess=store
        )

    return make


def test_clips_of_many_sizes_and_lengths_are_trained_on_and_resumed(mixed: Callable[..., Job]) -> None:
    undisturbed, stopped = mixed("undisturbed"), mixed("stopped")
    train.run(undisturbed)
    assert any("clips of 4 sizes; packs leave" in said for said in undisturbed.report.said)  # pyright: ignore
    stopped.report.on_row = lambda row: stopped.stop.set() if row["step"] == 3 else None  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Interrupted):
        train.run(stopped)
    stopped.stop.clear()
    train.run(stopped)
    assert (stopped.out / WEIGHTS).read_bytes() == (undisturbed.out / WEIGHTS).read_bytes()
    assert rows(stopped.report) == rows(undisturbed.report)


def test_processes_that_load_change_no_weight(mixed: Callable[..., Job]) -> None:
    alone, helped = mixed("alone"), mixed("helped", loaders=2)
    train.run(alone)
    train.run(helped)
    assert (alone.out / WEIGHTS).read_bytes() == (helped.out / WEIGHTS).read_bytes()


def test_who_computes_attention_can_be_asked_for_and_is_said(mixed: Callable[..., Job]) -> None:
    """In float32 the rule says `sdpa`."""
    ruled, asked = mixed("ruled"), mixed("asked", attention="products")
    for job, words in ((ruled, "sdpa (rule)"), (asked, "products (asked for)")):
        train.run(job)
        assert f"attention was computed by {words}" in job.report.said  # pyright: ignore[reportAttributeAccessIssue]
    assert (ruled.out / WEIGHTS).read_bytes() != (asked.out / WEIGHTS).read_bytes()
    with pytest.raises(MachineError, match="attention by `flash` is asked for, which runs on cuda"):
        train.run(mixed("refused", attention="flash"))


@pytest.mark.parametrize("kind", ["cheap", "blocks"])
def test_what_is_computed_again_changes_no_weight(mixed: Callable[..., Job], kind: str) -> None:
    plain, again = mixed("plain"), mixed("again", recompute=kind)
    for job in (plain, again):
        train.run(job)
    assert (plain.out / WEIGHTS).read_bytes() == (again.out / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(training: Callable[..., Job]) -> None:
    plain, compiled, again = training("plain"), training("compiled"), training("again")
    for job in (plain, compiled, again):
        runtime = job.recipe.runtime.model_copy(update={"compile": job is not plain})
        train.run(replace(job, recipe=job.recipe.model_copy(update={"runtime": runtime})))
    expected, found, twice = (load_file(job.out / WEIGHTS) for job in (plain, compiled, again))
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], twice[name]) for name in found)
    assert any(not torch.equal(expected[name], found[name]) for name in found)  # it rounds otherwise
    assert all(torch.allclose(expected[name], found[name], atol=2e-2) for name in found)


@pytest.mark.parametrize(("missing", "other"), [("audio", "loss_video"), ("video", "loss_audio")])
def test_clips_of_pictures_or_of_sounds_alone_are_learnt_from(
    training: Callable[..., Job], tmp_path: Path, missing: str, other: str
) -> None:
    job, artifact = training(steps=2), tmp_path / "alone"
    shutil.copytree(job.inputs["preprocess"], artifact)
    with closing(sqlite3.connect(artifact / "index.sqlite")) as index:
        index.execute(f"UPDATE clips SET {missing} = NULL, {missing}_latents = NULL")
        index.commit()
    train.run(replace(job, inputs={"preprocess": artifact}))
    *_, row = rows(job.report).values()
    assert row[f"loss_{missing}"] == 0 and row[other] > 0


CHILD = """
import json, sys
from pathlib import Path
from threading import Event
from avctl.job import Job
from avctl.schema import Recipe
from avctl.stages import train

class Lines:
    def log(self, **row): print(json.dumps(row), flush=True)
    def progress(self, *of, **figures): pass
    rewind = note = warn = progress

recipe, preprocess, out = sys.argv[1:]
train.run(Job(Recipe.model_validate_json(recipe), {"preprocess": Path(preprocess)}, Path(out), Lines(), Event()))
"""


def test_killed_at_random_moments_it_still_ends_with_the_same_bytes(training: Callable[..., Job]) -> None:
    undisturbed, job = training("undisturbed", steps=40, save_every=3), training(steps=40, save_every=3)
    train.run(undisturbed)
    told: dict[int, dict[str, Any]] = {}
    moments = random.Random(0)
    for kill_after in (moments.randint(1, 10), moments.randint(1, 15), None):
        command = [
            sys.executable,
            "-c",
            CHILD,
            job.recipe.model_dump_json(),
            str(job.inputs["preprocess"]),
            str(job.out),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            for count, line in enumerate(child.stdout, 1):
                row = json.loads(line)
                told[row["step"]] = {name: x for name, x in row.items() if name != "items_per_s"}
                if count == kill_after:
                    child.kill()
                    break
    assert told == rows(undisturbed.report)
    assert (job.out / WEIGHTS).read_bytes() == (undisturbed.out / WEIGHTS).read_bytes()
    assert {path.name for path in job.out.iterdir()} == {"config.json", WEIGHTS}


def test_samples_are_made_on_the_way(training: Callable[..., Job]) -> None:
    job = training(sample_every=3, steps=5)
    train.run(job)
    folder = job.out / "samples" / "step-00000003"
    assert sorted(path.name for path in folder.iterdir()) == ["00000.mp4", "00001.mp4", "00002.mp4", "prompts.json"]
    assert json.loads((folder / "prompts.json").read_text())[0] == "a red square"
    assert [path.name for path in (job.out / "samples").iterdir()] == [folder.name]


def test_samples_on_the_way_change_no_weight(training: Callable[..., Job]) -> None:
    with_samples, without = training("with", sample_every=2), training("without")
    train.run(with_samples)
    train.run(without)
    assert (with_samples.out / WEIGHTS).read_bytes() == (without.out / WEIGHTS).read_bytes()


def test_a_codec_is_trained_and_used_by_another_recipe(
    autoencoder: Recipe, tiny: Recipe, tmp_path: Path, clips: Callable[[Path, Recipe], Path], job: Callable[..., Job]
) -> None:
    (tmp_path / "pixels").mkdir()
    store = clips(tmp_path / "pixels", autoencoder)
    first, second = (job(autoencoder, out, preprocess=store) for out in ("a", "b"))
    for each in (first, second):
        train.run(each)
    assert {path.name for path in first.out.iterdir()} == {WEIGHTS}
    assert (first.out / WEIGHTS).read_bytes() == (second.out / WEIGHTS).read_bytes()
    codec = build_video_codec(Trained(recipe=autoencoder), tiny.clip, first.out)
    assert codec.encode(torch.zeros(1, 8, 3, 16, 16)).shape == (1, 8, 4, 2, 2)


def test_a_stopped_codec_goes_on_to_the_same_bytes(
    autoencoder: Recipe, tmp_path: Path, clips: Callable[[Path, Recipe], Path], job: Callable[..., Job]
) -> None:
    (tmp_path / "pixels").mkdir()
    store = clips(tmp_path / "pixels", autoencoder)
    undisturbed, stopped = (job(autoencoder, out, preprocess=store) for out in ("undisturbed", "stopped"))
    train.run(undisturbed)
    stopped.report.on_row = lambda row: stopped.stop.set() if row["step"] == 3 else None  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Interrupted):
        train.run(stopped)
    stopped.stop.clear()
    train.run(stopped)
    assert (stopped.out / WEIGHTS).read_bytes() == (undisturbed.out / WEIGHTS).read_bytes()


def test_data_without_training_clips_is_refused(
    tiny: Recipe, tmp_path: Path, clips: Callable[[Path, Recipe], Path], job: Callable[..., Job]
) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(InputError, match="no clips for training"):
        train.run(job(tiny, preprocess=clips(tmp_path / "one", tiny, 1)))  # pyright: ignore[reportCallIssue]


def test_a_damaged_checkpoint_is_refused_not_ignored(training: Callable[..., Job]) -> None:
    job = training()
    job.report.on_row = lambda row: job.stop.set() if row["step"] == 4 else None  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Interrupted):
        train.run(job)
    checkpoint = job.out / "work" / "checkpoints" / "step-00000004"
    (checkpoint / "optimizer.safetensors").write_bytes(b"")
    job.stop.clear()
    with pytest.raises(InputError, match=r"`step-00000004` is damaged: `optimizer\.safetensors`"):
        train.run(job)


def test_the_average_is_what_is_saved(training: Callable[..., Job]) -> None:
    slow, fast = training("slow", ema=0.9), training("fast", ema=0.0)
    for job in (slow, fast):
        train.run(job)
    averaged, last = load_file(slow.out / WEIGHTS), load_file(fast.out / WEIGHTS)
    assert any(not torch.equal(weight, last[name]) for name, weight in averaged.items())
    assert rows(slow.report) == rows(fast.report)
