"""Watch and listen to what was generated, hold it against the real clips, and say how good it is.

Writes `scores.json` and a self-contained `report.html`. Quick enough to start again from the beginning.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avctl.codecs.build import build_audio_codec, build_video_codec
from avctl.compute.device import prepare
from avctl.errors import InputError, Interrupted
from avctl.files import write_text
from avctl.job import Job
from avctl.media.load import load_frames, load_sound
from avctl.metrics.reality import Codecs, Reality
from avctl.metrics.report.page import Example, Section, page
from avctl.metrics.score import Record
from avctl.metrics.scoring import score_clips, with_ceilings
from avctl.metrics.watch import Footage, Watched, unwatchable, watch
from avctl.schema import Eval
from avctl.store.reader import ClipStore

# What finds events; raise the number when equal clips should be read in another way.
WORLD_READER, PLAIN_READER = "small world 1", "onsets and peaks of motion 1"


@dataclass(frozen=True)
class Set:
    """A folder of generated clips: name and task, and a row (file, prompt, clip_id, truth ...) a clip."""

    folder: Path
    task: str
    rows: list[dict[str, Any]]


def run(job: Job) -> None:
    """Write `scores.json` and `report.html` below `job.out`. InputError where the sample artifact is damaged."""
    spec, recipe = job.recipe.eval, job.recipe
    assert spec is not None
    prepare(recipe.runtime.on_cpu())
    reality = Reality(ClipStore(job.inputs["preprocess"]), recipe.clip, _codecs(job))
    sections = [_section(job, each, reality, spec) for each in _sets(job.inputs["sample"])]
    if "reconstruction" in spec.metrics and reality.codecs:
        about = "Real clips, encoded and decoded by the codecs, against themselves."
        sections.append(Section("codecs", about, reality.loss(_record(job, spec, "none", "codecs"))))
    for section in sections:
        job.report.log(set=section.title, **{score.name: score.value for score in section.scores})
    table = {section.title: {score.name: score.to_json() for score in section.scores} for section in sections}
    write_text(job.out / "scores.json", json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    funnel = job.inputs["preprocess"] / "funnel.html"
    link = os.path.relpath(funnel, job.out) if funnel.is_file() else None
    write_text(job.out / "report.html", page(f"{recipe.name}: evaluation", sections, link))


def _codecs(job: Job) -> Codecs | None:
    preprocess, clip = job.recipe.preprocess, job.recipe.clip
    if not preprocess or not preprocess.video_codec or not preprocess.audio_codec:
        return None
    video = build_video_codec(preprocess.video_codec, clip, job.inputs.get("codec"))
    return Codecs(video, build_audio_codec(preprocess.audio_codec, clip))


def _sets(artifact: Path) -> list[Set]:
    """What the sample stage made. InputError where its tables do not read."""
    try:
        names = json.loads((artifact / "sets.json").read_text())
        return [
            Set(artifact / each["name"], each["task"], _rows(artifact / each["name"] / "clips.jsonl")) for each in names
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"`{artifact}` is no sample artifact: {error!r}") from error


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _section(job: Job, each: Set, reality: Reality, spec: Eval) -> Section:
    """Scores and examples of one set, beside the real clips that its rows name."""
    watched: list[Watched] = []
    examples: list[Example] = []
    for done, row in enumerate(each.rows, 1):
        if job.stop.is_set():
            raise Interrupted
        footage, seen_and_heard = _watch(each.folder / row["file"], row, reality)
        watched.append(seen_and_heard)
        if footage and len(examples) < spec.examples:
            examples.append(_example(each.folder / row["file"], row, reality, footage, seen_and_heard))
        job.report.progress(each.folder.name, done, len(each.rows))
    reader = WORLD_READER if any(clip.truth for clip in watched) else PLAIN_READER
    record = _record(job, spec, reader, each.task)
    rows = [reality.rows[row["clip_id"]] for row in each.rows if row["clip_id"] in reality.rows]
    scores = with_ceilings(score_clips(watched, spec, record), *reality.ceilings(rows, spec, record))
    return Section(each.folder.name, _about(each), scores, examples)


def _record(job: Job, spec: Eval, reader: str, task: str) -> Record:
    """What all scores of a set depend on."""
    clip = job.recipe.clip
    return Record(
        metric="",  # each score fills in its own
        reader=reader,
        size=clip.size,
        fps=clip.fps,
        sample_rate=clip.sample_rate,
        channels=clip.channels,
        task=task,
        resamples=spec.resamples,
        seed=job.recipe.seed,
    )


def _watch(file: Path, row: dict[str, Any], reality: Reality) -> tuple[Footage | None, Watched]:
    """One generated clip; one that cannot be decoded has no frames and counts as wrong."""
    clip = reality.clip
    try:
        footage = Footage(load_frames(file, clip, clip.frames), load_sound(file, clip, clip.samples))
    except InputError:
        return None, unwatchable(clip.seconds, row["truth"])
    return footage, watch(footage, clip.fps, clip.sample_rate, row["truth"])


def _example(file: Path, row: dict[str, Any], reality: Reality, footage: Footage, watched: Watched) -> Example:
    """A clip for the report, beside the real one if there is one."""
    real = reality.rows.get(row["clip_id"])
    return Example(file, row["prompt"], footage, watched, (reality.read(real), reality.watch(real)) if real else None)


def _about(each: Set) -> str:
    captioned = "with" if any(row["prompt"] for row in each.rows) else "without"
    return f"{len(each.rows)} clips, {each.task.replace('_', ' ')}, {captioned} captions."
