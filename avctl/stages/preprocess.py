"""preprocess: the files of a crawl become a store of clips, an index of every score, and a funnel.

Workers prepare shards; the parent encodes each shard as it comes in and commits it; at the end all shards are put
together in order. A shard that is committed is never worked through again.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from avctl.codecs.encode import Encoder
from avctl.compute.device import prepare
from avctl.curate.assemble import Tables, Tabulator, write_arrays, write_tables
from avctl.curate.funnel import funnel, write_funnel
from avctl.curate.pool import Budget, Fault, Pool
from avctl.curate.prepare import Outcome
from avctl.curate.shards import PrepareShard, Shard, WorkFolder, cut_clips, group, read_ledger, read_losses
from avctl.curate.shots import load
from avctl.job import InputError, Interrupted, Job, StageError
from avctl.schema import Preprocess
from avctl.store.layout import StoreLayout, layout

PRODUCTS = ("clips.zarr", "index.sqlite", "funnel.html", "funnel.json")  # in the order in which they are put in place


def run(job: Job) -> None:
    """Write `clips.zarr`, `index.sqlite`, `funnel.json` and `funnel.html` below `job.out`.

    InputError for a crawl without files, StageError where too many files are damaged or no clip is left,
    MachineError where what looks for shots is not installed.
    """
    preprocess, clip, work = job.recipe.preprocess, job.recipe.clip, job.out / "work"
    assert preprocess is not None
    if (job.out / PRODUCTS[-1]).exists() and not job.retry:  # killed between the last product and the clean-up
        shutil.rmtree(work, ignore_errors=True)
        return
    sources = read_ledger(job.inputs["crawl"])
    if not sources:
        raise InputError("the crawl holds no files", hint="look at its dead letters: `avctl ls --failed`")
    load(preprocess.shots)  # what is missing is said once, not of every file
    shards = group(sources, preprocess.shard_clips)
    encoder = None
    if preprocess.video_codec:
        encoder = Encoder(preprocess, clip, job.inputs.get("codec"), prepare(job.recipe.runtime))
    plan = layout(clip, encoder.video_shapes, encoder.audio_shape) if encoder else layout(clip)
    workspace = WorkFolder(work, clip)
    _prepare(job, preprocess, workspace, shards, encoder)
    tables = _tabulate(shards, workspace, Tabulator(preprocess, clip, encoder.fingerprint if encoder else None))
    _check(tables, preprocess)
    _write(job, workspace, shards, tables, plan)
    shutil.rmtree(work)


def _prepare(
    job: Job, preprocess: Preprocess, workspace: WorkFolder, shards: Sequence[Shard], encoder: Encoder | None
) -> None:
    """Work through every shard that is not committed yet; with `retry`, also through those with refused files.

    A finished artifact has no committed shards left: there, `retry` works through all files again."""
    if job.retry:
        for shard in shards:
            if workspace.is_committed(shard) and any(outcome.reason for outcome in workspace.outcomes(shard)):
                workspace.withdraw(shard)
    todo = [shard for shard in shards if not workspace.is_committed(shard)]
    total, done = sum(map(len, shards)), sum(map(len, shards)) - sum(map(len, todo))
    counts: Counter[str] = Counter()
    work = PrepareShard(workspace.scratch, preprocess, job.recipe.clip)
    budget = Budget(preprocess.item_seconds, preprocess.item_memory_mb)
    pool: Pool[Shard, Outcome] = Pool(work, job.recipe.runtime.num_workers, budget)
    with closing(pool.run(todo)) as finished:
        for item in finished:
            if job.stop.is_set():
                raise Interrupted
            if item:
                shard, results = item
                _commit(workspace, shard, results, encoder)
                counts.update(_counts(results))
            job.report.progress("files", done + pool.num_results, total, **counts)


def _commit(workspace: WorkFolder, shard: Shard, results: list[Outcome | Fault], encoder: Encoder | None) -> None:
    if encoder:
        cuts = cut_clips(result for result in results if isinstance(result, Outcome))
        latents = encoder(workspace.frames(shard, cuts, scratch=True), workspace.audio(shard, cuts, scratch=True))
        workspace.write_latents(shard, latents)
    workspace.commit(shard, results)


def _counts(results: list[Outcome | Fault]) -> dict[str, int]:
    outcomes = [result for result in results if isinstance(result, Outcome)]
    refused = len(results) - len(outcomes) + sum(outcome.reason is not None for outcome in outcomes)
    return {"clips": sum(outcome.num_cut for outcome in outcomes), "refused": refused}


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


def _write(job: Job, workspace: WorkFolder, shards: Sequence[Shard], tables: Tables, plan: StoreLayout) -> None:
    """Build every product beside the old ones, then put them in place one after the other."""
    new = workspace.scratch
    job.report.note(f"writing {tables.num_kept} clips of {len(tables.sources)} files")
    write_arrays(new / "clips.zarr", workspace, shards, tables, plan)
    write_tables(new / "index.sqlite", tables)
    counts = funnel(tables, read_losses(job.inputs["crawl"]))
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
    for reason, line in counts["files"]["quarantined"].items():
        job.report.warn(f"{line['count']} files quarantined: {reason} ({', '.join(line['examples'])})")


def _put(made: Path, place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    os.replace(made, place)
