"""The sets that a recipe asks for: whole, in order, to the byte, also after an interruption."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch._dynamo.utils

from avctl.job import InputError, Interrupted, Job
from avctl.recipe import replace
from avctl.schema import Recipe, Request, Sample, TaskMix, TrainGenerator
from avctl.stages import sample
from avctl.store.reader import ClipStore


@pytest.fixture
def sampling(tiny: Recipe, tiny_train: Path, tiny_store: Path, job: Callable[..., Job]) -> Callable[..., Job]:
    """A sample job over the test clips of `tiny`, in a folder of its own."""

    def make(*requests: Request, out: str = "out", **fields: Any) -> Job:
        section = Sample(**{"requests": requests, "steps": 2, "batch": 2, **fields})
        return job(tiny.model_copy(update={"sample": section}), out, train=tiny_train, preprocess=tiny_store)

    return make


def rows(job: Job, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (job.out / name / "clips.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def film(path: Path) -> tuple[np.ndarray, int]:
    """Frames, and the length of the sound in samples."""
    with av.open(str(path)) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
        return frames, file.streams.audio[0].duration or 0


def test_every_set_has_its_clips_and_a_row_for_each(sampling: Callable[..., Job], tiny_store: Path) -> None:
    job = sampling(Request(count=3), Request(task="video_to_audio", count=2, use_caption=False))
    sample.run(job)
    test = ClipStore(tiny_store).clips("test")
    found = rows(job, "text_to_both-test")
    assert [row["clip_id"] for row in found] == [row.clip_id for row in test]
    assert [row["prompt"] for row in found] == ["a red square", "a green square", "a blue square"]
    assert found[2] == {
        "index": 2, "file": "clips/00002.mp4", "prompt": "a blue square", "seed": 0, "task": "text_to_both",
        "split": "test", "clip_id": test[2].clip_id, "truth": {"events_s": [0.5]},
    }  # fmt: skip
    uncaptioned = rows(job, "video_to_audio-test-uncaptioned")
    assert [row["prompt"] for row in uncaptioned] == ["", ""]
    for name, count in (("text_to_both-test", 3), ("video_to_audio-test-uncaptioned", 2)):
        assert sorted(path.name for path in (job.out / name / "clips").iterdir()) == [
            f"{i:05d}.mp4" for i in range(count)
        ]
        frames, samples = film(job.out / name / "clips" / "00001.mp4")
        assert frames.shape == (8, 16, 16, 3) and samples == 8_000
    assert json.loads((job.out / "sets.json").read_text()) == [
        {"name": "text_to_both-test", "task": "text_to_both", "split": "test"},
        {"name": "video_to_audio-test-uncaptioned", "task": "video_to_audio", "split": "test"},
    ]


def test_a_clip_that_is_given_a_picture_shows_that_of_its_row(sampling: Callable[..., Job], tiny_store: Path) -> None:
    job = sampling(Request(task="video_to_audio", count=3))
    sample.run(job)
    store = ClipStore(tiny_store)
    for i, row in enumerate(store.clips("test")):
        frames, _ = film(job.out / "video_to_audio-test" / "clips" / f"{i:05d}.mp4")
        assert np.abs(frames.astype(int) - store.frames(row)).mean() < 10  # 4:2:0 blurs the edges of a square


@pytest.mark.parametrize("task", ["audio_to_video", "image_to_video", "extend"])
def test_the_other_tasks_run_on_held_out_clips(sampling: Callable[..., Job], task: str) -> None:
    keep_s = {"keep_s": 0.5} if task == "extend" else {}
    job = sampling(Request(task=task, count=2, **keep_s))  # pyright: ignore[reportArgumentType]
    sample.run(job)
    assert film(job.out / f"{task}-test" / "clips" / "00000.mp4")[0].shape == (8, 16, 16, 3)


def test_who_computed_attention_is_said(sampling: Callable[..., Job]) -> None:
    job = sampling(Request(count=1))
    sample.run(job)
    assert "attention was computed by sdpa (rule)" in job.report.said  # pyright: ignore[reportAttributeAccessIssue]


def test_prompts_of_a_file_are_a_set_of_their_own(sampling: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red ball\n\n  ein grüner Würfel 立方体 \n", encoding="utf-8")
    job = sampling(prompts=tmp_path / "prompts.txt")
    sample.run(job)
    found = rows(job, "prompts")
    assert [row["prompt"] for row in found] == ["a red ball", "ein grüner Würfel 立方体"]
    assert found[0]["clip_id"] is found[0]["truth"] is found[0]["split"] is None
    assert (job.out / "prompts" / "clips" / "00001.mp4").is_file()


def test_what_cannot_be_had_of_the_model_is_said(sampling: Callable[..., Job], tmp_path: Path) -> None:
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    (tmp_path / "prompts.txt").write_text(f"a red ball\n{long}\n")
    job = sampling(Request(task="extend", count=1, keep_s=0.5), prompts=tmp_path / "prompts.txt")
    assert isinstance(job.recipe.train, TrainGenerator)
    untrained = replace(job.recipe.train, tasks=TaskMix())
    job = dataclasses.replace(job, recipe=job.recipe.model_copy(update={"train": untrained}))
    sample.run(job)
    said = " ".join(job.report.said)  # pyright: ignore[reportAttributeAccessIssue]
    assert "not trained on extend" in said and "not trained on text_to_both" not in said
    assert "`prompts`: 1 prompts are longer than" in said


def test_a_file_that_is_no_text_is_refused(sampling: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        sample.run(sampling(prompts=tmp_path / "prompts.txt"))


def test_a_file_without_prompts_is_refused(sampling: Callable[..., Job], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n \n")
    with pytest.raises(InputError, match=r"prompts\.txt` holds no prompts"):
        sample.run(sampling(prompts=tmp_path / "prompts.txt"))


def test_fewer_clips_than_asked_for_are_made_and_said(sampling: Callable[..., Job]) -> None:
    job = sampling(Request(count=4), Request(split="unseen", count=1))
    sample.run(job)
    assert [row["index"] for row in rows(job, "text_to_both-test")] == [0, 1, 2]
    assert [each["name"] for each in json.loads((job.out / "sets.json").read_text())] == ["text_to_both-test"]
    said = job.report.said  # pyright: ignore[reportAttributeAccessIssue]
    assert said == [
        "`text_to_both-test` has 3 clips instead of 4: there are no more",
        "`text_to_both-unseen` is left out: no clip stands on the side `unseen`",
        "attention was computed by sdpa (rule)",
    ]


def test_nothing_to_make_is_refused(sampling: Callable[..., Job]) -> None:
    job = sampling(Request(split="unseen"))
    with pytest.raises(InputError, match="no clip stands on the sides"):
        sample.run(job)
    assert not list(job.out.iterdir())


def test_a_clip_that_is_lost_is_made_again_to_the_byte(sampling: Callable[..., Job]) -> None:
    job = sampling(Request(count=3))
    sample.run(job)
    whole = contents(job.out)
    for lost in ("00001", "00002"):
        (job.out / "text_to_both-test" / "clips" / f"{lost}.mp4").unlink()
        (job.out / "text_to_both-test" / "clips.jsonl").unlink(missing_ok=True)
        sample.run(job)
        assert contents(job.out) == whole


def test_an_interrupted_run_goes_on_to_the_same_bytes(sampling: Callable[..., Job]) -> None:
    undisturbed = sampling(Request(count=3), out="undisturbed")
    sample.run(undisturbed)
    job = sampling(Request(count=3))
    job.stop.set()
    with pytest.raises(Interrupted):
        sample.run(job)
    job.stop.clear()
    clips = job.out / "text_to_both-test" / "clips"
    clips.mkdir(parents=True)
    (clips / "00000.mp4").write_bytes(contents(undisturbed.out)["text_to_both-test/clips/00000.mp4"])
    (clips / ".00001.mp4.part").write_bytes(b"killed while writing")
    sample.run(job)
    assert contents(job.out) == contents(undisturbed.out)


def test_other_seeds_make_other_clips(sampling: Callable[..., Job], tiny: Recipe) -> None:
    first, other = sampling(Request(count=1)), sampling(Request(count=1), out="other")
    sample.run(first)
    sample.run(Job(other.recipe.model_copy(update={"seed": 1}), other.inputs, other.out, other.report, other.stop))
    name = "text_to_both-test/clips/00000.mp4"
    assert contents(first.out)[name] != contents(other.out)[name]


@pytest.mark.slow
def test_a_compiled_model_makes_the_same_clips(sampling: Callable[..., Job]) -> None:
    plain, compiled = (sampling(Request(count=3), out=name) for name in ("plain", "compiled"))
    runtime = compiled.recipe.runtime.model_copy(update={"compile": True})
    compiled = dataclasses.replace(compiled, recipe=compiled.recipe.model_copy(update={"runtime": runtime}))
    torch._dynamo.utils.counters.clear()
    graphs = []
    for job in (plain, compiled):
        sample.run(job)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs[0] == 0 < graphs[1]
    films = [[film(path)[0] for path in sorted(job.out.rglob("*.mp4"))] for job in (plain, compiled)]
    assert [len(each) for each in films] == [3, 3]
    differences = [np.abs(a.astype(int) - b).mean() for a, b in zip(*films, strict=True)]
    assert max(differences) < 2  # grey levels: it rounds otherwise
