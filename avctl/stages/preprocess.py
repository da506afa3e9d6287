"""preprocess: the files of a crawl become a store of clips, an index of every score, and a funnel.

Workers prepare shards; the parent encodes each shard as it comes in and commits it; at the end all shards are put
together in order. A shard that is committed is never worked through again, and of a finished data set only its refused
files are tried again.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from heapq import merge
from pathlib import Path
from typing import Any

from avctl.cluster.encoding import EncodeShard
from avctl.cluster.pools import pool_of
from avctl.curate.assemble import CutClips, Tables, Tabulator, write_arrays, write_tables
from avctl.curate.earlier import Earlier
from avctl.curate.funnel import funnel, write_funnel, write_page
from avctl.curate.shards import PrepareShard, Shard, WorkFolder, group, of_shards, read_ledger, read_losses
from avctl.curate.shots import load
from avctl.curate.tally import Tally
from avctl.curate.worker import Budget
from avctl.job import InputError, Interrupted, Job, StageError
from avctl.media.engines import build
from avctl.schema import Preprocess
from avctl.store.layout import StoreLayout, layout

PRODUCTS = ("clips.zarr", "index.sqlite", "funnel.html", "funnel.json")  # in the order in which they are put in place


def run(job: Job) -> None:
    """Write `clips.zarr`, `index.sqlite`, `funnel.json` and `funnel.html` below `job.out`.

    InputError for a crawl without files, StageError where too many files are damaged or no clip is left,
    MachineError where what looks for shots is not installed.
    """
    inputs = {name: path.absolute() for name, path in job.inputs.items()}
    job = replace(job, out=job.out.absolute(), inputs=inputs)  # workers of a cluster stand elsewhere
    preprocess, clip, out = job.recipe.preprocess, job.recipe.clip, job.out
    assert preprocess is not None
    workspace = WorkFolder(out / "work", clip)
    earlier = _earlier(out, workspace, job.retry)
    if (out / PRODUCTS[-1]).exists():  # killed between the last product and the clean-up
        shutil.rmtree(workspace.folder)
        return
    sources = read_ledger(job.inputs["crawl"])
    if not sources:
        raise InputError("the crawl holds no files", hint="look at its dead letters: `avctl ls --failed`")
    load(preprocess.shots)  # what is missing is said once, not of every file
    encode = None
    if preprocess.video_codec:
        encode = EncodeShard(workspace, preprocess, clip, job.inputs.get("codec"), job.recipe.runtime)
    tabulator = Tabulator(preprocess, clip, lambda: encode.encoder.fingerprint if encode else None)
    wanted = sources[: preprocess.max_samples]
    known = list(earlier.finished([source for source, _ in wanted], tabulator.key)) if earlier else []
    is_known = {finished.source.sha256 for finished in known}
    shards = group([each for each in wanted if each[0].sha256 not in is_known], preprocess.shard_files)
    _prepare(job, preprocess, workspace, shards, encode)
    for finished in merge(known, of_shards(shards, workspace), key=lambda finished: finished.source.sha256):
        tabulator.add(finished)
    tables = tabulator.tables
    counts = funnel(tables, read_losses(job.inputs["crawl"]), beyond_max_samples=len(sources) - len(tables.sources))
    try:
        _check(tables, preprocess)
    except StageError as error:
        _explain(error, out, tables, counts)
        raise
    plan = layout(clip, encode.encoder.video_shapes, encode.encoder.audio_shape) if encode else layout(clip)
    clips = CutClips(workspace, earlier, with_latents=encode is not None)
    _write(job, workspace.scratch, tables, clips, plan, counts)
    shutil.rmtree(out / "work")


def _earlier(out: Path, workspace: WorkFolder, retry: bool) -> Earlier | None:
    """The data set that is made again, where it is: until the new one is in place it stands in `work/`."""
    aside = workspace.folder / "earlier"
    if (retry or aside.exists()) and (out / PRODUCTS[-1]).exists() and not (aside / PRODUCTS[-1]).exists():
        aside.mkdir(exist_ok=True)
        for name in PRODUCTS:
            if (out / name).exists():  # else it was moved before a kill
                os.replace(out / name, aside / name)
    return Earlier(aside) if (aside / PRODUCTS[-1]).exists() else None


def _prepare(
    job: Job, preprocess: Preprocess, workspace: WorkFolder, shards: Sequence[Shard], encode: EncodeShard | None
) -> None:
    """Work through every shard that is not committed yet; with `retry`, also through those with refused files."""
    if job.retry:
        for shard in shards:
            if workspace.is_committed(shard) and any(outcome.reason for outcome in workspace.outcomes(shard)):
                workspace.withdraw(shard)
    engine = build(preprocess.decode.engine)  # says what is not installed, before any work
    todo = [shard for shard in shards if not workspace.is_committed(shard)]
    total, left = sum(map(len, shards)), sum(map(len, todo))
    tally = Tally(job.report, total, done=total - left)
    pool = pool_of(
        job.recipe.runtime,
        PrepareShard(workspace.scratch, preprocess, job.recipe.clip),
        Budget(
            preprocess.item_seconds,
            None if engine.is_on_gpu else preprocess.item_memory_mb,
            preprocess.item_output_mb,
        ),
        encode,
        decode=preprocess.decode,
        folders=(workspace.scratch, *job.inputs.values()),
        log=workspace.folder / "ray.log",
    )
    with pool.run(todo) as steps:
        tally.show(pool.num_workers)  # rate and time left count from here
        if encode and todo:
            encode.load()  # while the workers start
        for step in steps:
            if step:
                tally.add(step)
            if step and step.is_finished:
                workspace.commit(step.shard, step.results)
            tally.show(pool.num_workers)
            if job.stop.is_set():
                raise Interrupted


def _check(tables: Tables, preprocess: Preprocess) -> None:
    refused, given = len(tables.refused), len(tables.sources)
    reasons = ", ".join(
        f"{count} {reason}" for reason, count in Counter(row["reason"] for row in tables.refused).most_common()
    )
    if refused > preprocess.integrity.max_rejected * given:
        raise StageError(
            f"{refused} of {given} files are refused: {reasons}",
            hint=f"`preprocess.integrity.max_rejected` allows a share of {preprocess.integrity.max_rejected:g}",
        )
    if not tables.kept:
        unfit = sum(not source["candidates"] and not source["reason"] for source in tables.sources)
        drops = Counter(row["reason"] for row in tables.clips)
        raise StageError(
            f"no clip is left of {given} files: {refused} refused, {unfit} without a shot that holds a clip, "
            f"{len(tables.clips)} clips dropped {dict(drops.most_common())}",
            hint="loosen `preprocess.filters`, or give a shorter `clip.seconds`",
        )


def _explain(error: StageError, out: Path, tables: Tables, counts: dict[str, Any]) -> None:
    """What became of every file and clip, for those who look into why there is no data set."""
    write_tables(out / "index.sqlite", tables)
    write_page(out, counts)
    error.hint = f"look at `{out / 'funnel.html'}`, or `avctl ls {out} --failed`; {error.hint}"


def _write(job: Job, new: Path, tables: Tables, clips: CutClips, plan: StoreLayout, counts: dict[str, Any]) -> None:
    """Build every product in the folder `new`, then put them in place one after the other."""
    job.report.note(f"writing {len(tables.kept)} clips of {len(tables.sources)} files")
    write_arrays(new / "clips.zarr", tables, clips, plan)
    write_tables(new / "index.sqlite", tables)
    write_funnel(new, counts)
    for name in PRODUCTS:
        _put(new / name, job.out / name)
    job.report.log(files=counts["files"]["given"], clips=len(tables.kept), max_skew_samples=counts["max_skew_samples"])
    _warn(job, counts)


def _warn(job: Job, counts: dict[str, Any]) -> None:
    assert job.recipe.preprocess is not None
    split = job.recipe.preprocess.split
    for name, share in (("valid", split.valid), ("test", split.test)):
        if split.kind == "random" and share and name not in counts["splits"]:
            job.report.warn(f'no clip fell to split `{name}`: with few sources, `preprocess.split.by` may be "clip"')
    for reason, line in counts["files"]["fell_back"].items():
        job.report.warn(f"{line['count']} files decoded by PyAV instead: {reason} ({', '.join(line['examples'])})")
    for reason, line in counts["files"]["quarantined"].items():
        job.report.warn(f"{line['count']} files quarantined: {reason} ({', '.join(line['examples'])})")


def _put(made: Path, place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    os.replace(made, place)
