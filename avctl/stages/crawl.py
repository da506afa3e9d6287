"""crawl: sources -> files by content hash, and a ledger of where each came from.

A thread collects items into the frontier while the event loop fetches what it holds. The frontier lies in `work/` and
goes when the ledger is written, so that a folder with a ledger and no frontier is complete.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

from avctl.crawl.client import Client
from avctl.crawl.feeder import feeding
from avctl.crawl.fetch import Fetcher
from avctl.crawl.frontier import Tally
from avctl.crawl.provenance import FetchLog, write_ledger
from avctl.crawl.serve import serving
from avctl.crawl.sources import expected
from avctl.crawl.sources.synthetic import SCHEME
from avctl.crawl.sqlite_frontier import SqliteFrontier
from avctl.crawl.worker import Worker
from avctl.job import Job, StageError
from avctl.schema import Crawl


def run(job: Job) -> None:
    """Raises `StageError` if not one file could be had."""
    section, work, ledger = job.recipe.crawl, job.out / "work", job.out / "ledger.sqlite"
    assert section is not None, "the pipeline runs only stages that the recipe describes"
    queue = work / "frontier.sqlite"
    if job.retry or queue.exists() or not ledger.exists():
        work.mkdir(parents=True, exist_ok=True)
        _crawl(job, section, queue, ledger)
    queue.unlink(missing_ok=True)  # first, because with a queue the work goes on
    shutil.rmtree(work, ignore_errors=True)


def _crawl(job: Job, section: Crawl, queue: Path, ledger: Path) -> None:
    with closing(SqliteFrontier(queue, section.attempts)) as frontier:
        _pick_up(job, frontier, ledger)
        horizon = _work(job, section, queue, frontier)
        tally = frontier.tally(horizon)
        dead = list(frontier.dead(horizon))
        reasons = Counter(reason for _, reason, _, _ in dead)
        if not tally.files:
            first = f"; the first: {dead[0][0]}: {dead[0][1]}, {dead[0][2]}" if dead else ""
            raise StageError(f"not one of {tally.settled:,} items gave a file{first}", _hint(reasons))
        _keep_only(write_ledger(frontier, horizon, ledger), job.out)
    _conclude(job, tally, reasons)


def _pick_up(job: Job, frontier: SqliteFrontier, ledger: Path) -> None:
    """Goes on from a run that was killed, or from a finished one whose dead letters are tried again."""
    frontier.expire_leases()  # this job's lock says that whoever held them is gone
    if ledger.exists():
        frontier.adopt(ledger)
        ledger.unlink()
    if job.retry:
        frontier.revive()


def _work(job: Job, section: Crawl, queue: Path, frontier: SqliteFrontier) -> str | None:
    """Settles everything; returns the position of the last file that is wanted, None if all are."""
    expectation, workers = expected(section), job.recipe.runtime.num_workers

    def observe(tally: Tally) -> None:
        if feeder.error:
            raise feeder.error
        total = tally.settled + tally.open if feeder.is_done.is_set() else None
        megabytes = round(tally.bytes / 1e6, 1)
        job.report.progress("crawl", tally.settled, total or expectation, dead=tally.dead, megabytes=megabytes)

    with (
        serving(queue.parent / "rendered") as address,
        closing(FetchLog(job.out / "fetches.volatile.jsonl")) as log,
        feeding(queue, section, workers, job.stop) as feeder,
    ):

        async def fetch_all() -> str | None:
            async with Client(section) as client:
                fetch = Fetcher(client, job.out, log, {SCHEME: address}).fetch
                worker = Worker(
                    frontier, fetch, feeder.is_done, job.stop, section.backoff_s, section.max_files, observe
                )
                await worker.run()
                return worker.horizon

        return asyncio.run(fetch_all())


def _keep_only(paths: set[str], out: Path) -> None:
    """Removes files that the ledger does not name: fetched beyond `max_files`, or by a try that was cut off."""
    for path in (out / "files").glob("*/*"):
        if path.relative_to(out).as_posix() not in paths:
            path.unlink()
    for folder in (out / "files").glob("*"):
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def _conclude(job: Job, tally: Tally, reasons: Counter[str]) -> None:
    job.report.log(
        files=tally.files,
        bytes=tally.bytes,
        duplicates=tally.duplicates,
        pages=tally.pages,
        dead=tally.dead,
        **{f"dead/{reason}": count for reason, count in sorted(reasons.items())},
    )
    job.report.note(f"{tally.files:,} files, {tally.duplicates:,} duplicates, {tally.bytes / 1e6:,.1f} MB")
    if reasons:
        job.report.warn(f"{tally.dead:,} items are dead letters: {_listed(reasons)}")


def _hint(reasons: Counter[str]) -> str:
    if not reasons:
        return "the sources hold no media file"
    return f"dead letters: {_listed(reasons)}; mend the cause, then run the same command with `--retry`"


def _listed(reasons: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
