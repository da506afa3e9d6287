"""Generate the clips that a recipe asks for, as mp4 files with sound.

Every set is a folder: `clips/00000.mp4` ... and `clips.jsonl`, a row a clip. A batch is made again whole if any of its
files is missing, because another batch size may round differently. On a CPU each thread makes a batch of its own, but
for a compiled model, whose code has threads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from avctl.codecs.convert import from_pixels, from_samples
from avctl.compute.compile import compiles
from avctl.compute.device import prepare
from avctl.compute.seed import seeded
from avctl.compute.threads import Threads
from avctl.diffusion.tasks import TAKES
from avctl.errors import InputError, Interrupted
from avctl.files import write_text
from avctl.generate import AVPipeline, Settings
from avctl.inputs import Known
from avctl.job import Job
from avctl.kernels.attention_choice import who_ran
from avctl.models import pretrained
from avctl.models.text import SentenceText, WordText
from avctl.schema import Request, Sample, TrainGenerator
from avctl.store.reader import ClipRow, ClipStore

FORWARDS_A_STEP = 3  # that take as long as a step of training


@dataclass(frozen=True)
class Set:
    """Clips to be made alike: one prompt each, and the held-out clip that it belongs to, if one does."""

    name: str
    request: Request
    prompts: list[str]
    rows: list[ClipRow]  # empty for prompts from a file

    def batches(self, size: int) -> Iterator[range]:
        """Positions of the clips of each batch."""
        return (range(first, min(first + size, len(self.prompts))) for first in range(0, len(self.prompts), size))


def run(job: Job) -> None:
    recipe = job.recipe
    assert recipe.sample and isinstance(recipe.train, TrainGenerator)
    device = prepare(recipe.runtime, job.out)
    model = pretrained.trained(recipe, job.inputs["train"], job.inputs.get("codec"))
    pipe = AVPipeline(model, recipe.train.dtype).to(device)
    store = ClipStore(job.inputs["preprocess"])
    sets = _sets(job, recipe.sample, store)
    _warn(job, sets, model.generator.text)
    total, done = sum(len(s.prompts) for s in sets), 0
    is_compiled = compiles(recipe.runtime, _steps(recipe.sample, sets) // FORWARDS_A_STEP, device)
    if is_compiled:
        pipe.compile()
    with Threads(1) if is_compiled else Threads.on(device) as threads:
        for each in sets:
            batches = list(each.batches(recipe.sample.batch))
            for first in range(0, len(batches), threads.count):
                if job.stop.is_set():
                    raise Interrupted
                side_by_side = batches[first : first + threads.count]
                threads.map(lambda batch, each=each: _make(job, pipe, store, each, batch), side_by_side)
                done += sum(map(len, side_by_side))
                job.report.progress("sample", done, total, set=each.name)
            _write_rows(job, each)
    if ran := who_ran():
        job.report.note(f"attention was computed by {ran}")
    names = [{"name": s.name, "task": s.request.task, "split": s.request.split if s.rows else None} for s in sets]
    write_text(job.out / "sets.json", json.dumps(names, indent=1) + "\n")


def _steps(sample: Sample, sets: Sequence[Set]) -> int:
    """Of the solver, in all batches."""
    return sample.steps * sum(len(list(each.batches(sample.batch))) for each in sets)


def _sets(job: Job, sample: Sample, store: ClipStore) -> list[Set]:
    """What to make; sets that the data cannot fill are said. InputError where nothing at all can be made."""
    sets = []
    for request in sample.requests:
        if rows := _rows(job, request, store):
            sets.append(Set(request.name, request, [row.caption if request.use_caption else "" for row in rows], rows))
    if sample.prompts:
        prompts = _prompts(sample.prompts)
        if not prompts:
            raise InputError(f"`{sample.prompts}` holds no prompts", hint="one prompt a line")
        sets.append(Set("prompts", Request(count=len(prompts), guidance=sample.prompts_guidance), prompts, []))
    if not sets:
        raise InputError("no clip stands on the sides that `sample.requests` asks for", hint="`preprocess.split.test`")
    return sets


def _prompts(file: Path) -> list[str]:
    """The lines that are not empty. InputError for what is no text."""
    try:
        return [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise InputError(f"`{file}` cannot be read: {error}", hint="a text file in UTF-8, one prompt a line") from error


def _warn(job: Job, sets: Sequence[Set], text: WordText | SentenceText) -> None:
    """What is asked for and cannot be had of this model."""
    assert isinstance(job.recipe.train, TrainGenerator)
    for each in sets:
        if not getattr(job.recipe.train.tasks, each.request.task):
            job.report.warn(f"`{each.name}`: the model was not trained on {each.request.task} (`train.tasks`)")
        if count := sum(map(text.is_too_long, each.prompts)):
            job.report.warn(
                f"`{each.name}`: {count} prompts are longer than the {text.max_tokens} tokens that are read"
            )


def _rows(job: Job, request: Request, store: ClipStore) -> list[ClipRow]:
    """The clips of a request, of the recipe's size and full length, as many as it asks for or as there are."""
    rows = store.clips(request.split, job.recipe.clip)[: request.count]
    if not rows:
        job.report.warn(f"`{request.name}` is left out: no clip stands on the side `{request.split}`")
    elif len(rows) < request.count:
        job.report.warn(f"`{request.name}` has {len(rows)} clips instead of {request.count}: there are no more")
    return rows


def _make(job: Job, pipe: AVPipeline, store: ClipStore, each: Set, batch: range) -> None:
    """One batch of a set, unless all its files are there."""
    sample, request = job.recipe.sample, each.request
    assert sample
    folder = job.out / each.name / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i:05d}.mp4" for i in batch]
    if all(file.is_file() for file in files):
        return
    settings = Settings(
        task=request.task,
        steps=sample.steps,
        guidance=request.guidance,
        solver=sample.solver,
        shift=sample.shift,
        keep_s=request.keep_s,
        negative_prompt=sample.negative_prompt if request.guidance != 1 else "",
    )
    generators = [seeded(job.recipe.seed, "sample", each.name, i) for i in batch]
    known = _known(request, store, each.rows[batch.start : batch.stop])
    made = pipe.generate(each.prompts[batch.start : batch.stop], generators, settings, known)
    for file, output in zip(files, made, strict=True):
        output.save(file)


def _known(request: Request, store: ClipStore, rows: Sequence[ClipRow]) -> Known:
    """The pictures and sounds of held-out clips that the task is given."""
    frames = samples = None
    if TAKES[request.task] & {"video", "image"}:
        frames = from_pixels(torch.stack([torch.from_numpy(store.frames(row)) for row in rows]))
    if "audio" in TAKES[request.task]:
        samples = from_samples(torch.stack([torch.from_numpy(store.audio(row)) for row in rows]))
    return Known(frames, samples)


def _write_rows(job: Job, each: Set) -> None:
    def row(i: int) -> dict[str, Any]:
        source = each.rows[i] if each.rows else None
        return {
            "index": i,
            "file": f"clips/{i:05d}.mp4",
            "prompt": each.prompts[i],
            "seed": job.recipe.seed,
            "task": each.request.task,
            "split": source.split if source else None,
            "clip_id": source.clip_id if source else None,
            "truth": source.truth if source else None,
        }

    lines = [json.dumps(row(i), sort_keys=True, ensure_ascii=False) for i in range(len(each.prompts))]
    write_text(job.out / each.name / "clips.jsonl", "\n".join(lines) + "\n")
