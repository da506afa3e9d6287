"""preprocess: the files of a crawl become a store of clips, an index of every score, and a funnel.

Workers prepare shards; the parent encodes each shard as it comes in and commits it; at the end all shards are put
together in order. A shard that is committed is never worked through again.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avctl.cluster.encoding import EncodeShard
from avctl.cluster.pools import pool_of
from avctl.curate.assemble import Tables, Tabulator, write_arrays, write_tables
from avctl.curate.funnel import funnel, write_funnel
from avctl.curate.shards import PrepareShard, Shard, WorkFolder, group, read_ledger, read_losses
from avctl.curate.shots import load
from avctl.curate.tally import Tally
from avctl.curate.worker import Budget
from avctl.job import InputError, Interrupted, Job, StageError
from avctl.media.engines import build
from avctl.media.engines.fallback import engine_of
from avctl.schema import Preprocess
from avctl.store.layout import StoreLayout, layout

PRODUCTS = ("clips.zarr", "index.sqlite", "funnel.html", "funnel.json")  # in the order in which they are put in place


def run(job: Job) -> None:
    """Write `clips.zarr`, `index.sqlite`, `funnel.json` and `funnel.html` below `job.out`.

    InputError for a crawl without files, StageError where too many files are damaged or no clip is left,
    MachineError where what looks for shots is not installed.
    """
    preprocess, clip, out = job.recipe.preprocess, job.recipe.clip, job.out.absolute()
    assert preprocess is not None
    if (out / PRODUCTS[-1]).exists() and not job.retry:  # killed between the last product and the clean-up
        shutil.rmtree(out / "work", ignore_errors=True)
        return
    sources = read_ledger(job.inputs["crawl"].absolute())
    if not sources:
        raise InputError("the crawl holds no files", hint="look at its dead letters: `avctl ls --failed`")
    load(preprocess.shots)  # what is missing is said once, not of every file
    shards = group(sources[: preprocess.max_samples], preprocess.shard_clips)
    workspace = WorkFolder(out / "work", clip)
    encode = None
    if preprocess.video_codec:
        encode = EncodeShard(workspace, preprocess, clip, job.inputs.get("codec"), job.recipe.runtime)
    _prepare(job, preprocess, workspace, shards, encode)
    encoder = encode.encoder if encode else None
    plan = layout(clip, encoder.video_shapes, encoder.audio_shape) if encoder else layout(clip)
    tables = _tabulate(shards, workspace, Tabulator(preprocess, clip, encoder.fingerprint if encoder else None))
    _check(tables, preprocess)
    _write(job, workspace, shards, tables, plan, beyond_max_samples=len(sources) - len(tables.sources))
    shutil.rmtree(out / "work")


def _prepare(
    job: Job, preprocess: Preprocess, workspace: WorkFolder, shards: Sequence[Shard], encode: EncodeShard | None
) -> None:
    """Work through every shard that is not committed yet; with `retry`, also through those with refused files.

    A finished artifact has no committed shards left: there, `retry` works through all files again."""
    if job.retry:
        for shard in shards:
            if workspace.is_committed(shard) and any(outcome.reason for outcome in workspace.outcomes(shard)):
                workspace.withdraw(shard)
    engine = build(engine_of(preprocess.decode))  # says what is not installed, before any work
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
        folders=(workspace.scratch, job.inputs["crawl"].absolute()),
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


def _tabulate(shards: Sequence[Shard], workspace: WorkFolder, tabulator: Tabulator) -> Tables:
    for shard in shards:
        tabulator.add(shard, workspace.outcomes(shard))
    return tabulator.tables


def _check(tables: Tables, preprocess: Preprocess) -> None:
    refused, given = len(tables.quarantine), len(tables.sources)
    reasons = ", ".join(
        f"{count} {reason}" for reason, count in Counter(row["reason"] for row in tables.quarantine).most_common()
    )
    if refused > preprocess.integrity.max_rejected * given:
        raise StageError(
            f"{refused} of {given} files are refused: {reasons}",
            hint=f"`preprocess.integrity.max_rejected` allows a share of {preprocess.integrity.max_rejected:g}",
        )
    if not tables.num_kept:
        unfit = sum(not source["candidates"] and not source["reason"] for source in tables.sources)
        drops = Counter(row["reason"] for row in tables.clips)
        raise StageError(
            f"no clip is left of {given} files: {refused} refused, {unfit} without a shot that holds a clip, "
            f"{len(tables.clips)} clips dropped {dict(drops.most_common())}",
            hint="loosen `preprocess.filters`, or give a shorter `clip.seconds`",
        )


def _write(
    job: Job,
    workspace: WorkFolder,
    shards: Sequence[Shard],
    tables: Tables,
    plan: StoreLayout,
    beyond_max_samples: int,
) -> None:
    """Build every product beside the old ones, then put them in place one after the other."""
    new = workspace.scratch
    job.report.note(f"writing {tables.num_kept} clips of {len(tables.sources)} files")
    write_arrays(new / "clips.zarr", workspace, shards, tables, plan)
    write_tables(new / "index.sqlite", tables)
    counts = funnel(tables, read_losses(job.inputs["crawl"]), beyond_max_samples)
    write_funnel(new, counts)
    for name in PRODUCTS:
        _put(new / name, job.out / name)
    job.report.log(files=counts["files"]["given"], clips=tables.num_kept, max_skew_samples=counts["max_skew_samples"])
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
