"""crawl: sources -> files by content hash, and a ledger of where each came from.

A thread collects items into the frontier while the event loop fetches what it holds. Both lie in `work/` until the end:
the ledger is written last, so that an artifact with a ledger is complete.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

from avctl.crawl.client import Client
from avctl.crawl.fetch import Fetcher
from avctl.crawl.frontier import Item, Tally
from avctl.crawl.provenance import FetchLog, write_ledger
from avctl.crawl.serve import serving
from avctl.crawl.sources import collect, expected
from avctl.crawl.sources.synthetic import SCHEME, Studio
from avctl.crawl.sqlite_frontier import SqliteFrontier
from avctl.crawl.worker import Worker
from avctl.job import Job, MachineError, StageError
from avctl.schema import Crawl

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_COLLECTED_AT_ONCE, _COLLECT_S = 256, 0.1  # items and seconds after which what was collected is enqueued


def run(job: Job) -> None:
    """Raises `StageError` if not one file could be had."""
    section, work, ledger = job.recipe.crawl, job.out / "work", job.out / "ledger.sqlite"
    assert section is not None, "the pipeline runs only stages that the recipe describes"
    if not ledger.exists():
        with _disk_errors(job.out):
            work.mkdir(parents=True, exist_ok=True)
            _crawl(job, section, work, ledger)
    shutil.rmtree(work, ignore_errors=True)


def _crawl(job: Job, section: Crawl, work: Path, ledger: Path) -> None:
    with _frontier(work, section) as frontier:
        frontier.expire_leases()  # of a run that was killed: this job's lock says that it is gone
        if job.retry and (revived := frontier.revive()):
            job.report.note(f"trying {revived:,} dead letters again")
        horizon = _work(job, section, work, frontier)
        tally = frontier.tally(horizon)
        reasons = Counter(reason for _, reason, _, _ in frontier.dead(horizon))
        if not tally.files:
            raise StageError(f"not one of {tally.settled:,} items gave a file", _hint(reasons))
        _keep_only(write_ledger(frontier, horizon, ledger), job.out)
    _conclude(job, tally, reasons)


def _work(job: Job, section: Crawl, work: Path, frontier: SqliteFrontier) -> str | None:
    """Settles everything; returns the position of the last file that is wanted, None if all are."""
    expectation = expected(section)

    def observe(tally: Tally) -> None:
        total = tally.settled + tally.open if feeder.is_done.is_set() else None
        megabytes = round(tally.bytes / 1e6, 1)
        job.report.progress("crawl", tally.settled, total or expectation, dead=tally.dead, megabytes=megabytes)

    with (
        serving(work / "rendered") as address,
        closing(FetchLog(job.out / "fetches.volatile.jsonl")) as log,
        _feeding(job, section, work) as feeder,
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


class _Feeder:
    """Collects the sources into the frontier, in a thread with a connection of its own."""

    def __init__(self, job: Job, section: Crawl, work: Path):
        self.job, self.section, self.work = job, section, work
        self.is_done, self.is_unwanted = Event(), Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with _frontier(self.work, self.section) as frontier:
                self._feed(frontier)
        except BaseException as error:  # it is raised where the stage waits
            self.error = error
        finally:
            self.is_done.set()

    def _feed(self, frontier: SqliteFrontier) -> None:
        workers = self.job.recipe.runtime.workers or os.cpu_count() or 1
        with Studio(self.work / "rendered", workers, frontier.is_settled) as studio:
            batch, due = list[Item](), 0.0
            for item in collect(self.section, studio):
                if self.job.stop.is_set() or self.is_unwanted.is_set():
                    break
                batch.append(item)
                if len(batch) == _COLLECTED_AT_ONCE or time.monotonic() >= due:
                    frontier.enqueue(batch)
                    batch.clear()
                    due = time.monotonic() + _COLLECT_S
            frontier.enqueue(batch)


@contextmanager
def _feeding(job: Job, section: Crawl, work: Path) -> Iterator[_Feeder]:
    """A feeder at work; its error, if it has one, is raised at the end of the block."""
    feeder = _Feeder(job, section, work)
    thread = Thread(target=feeder.run)
    thread.start()
    try:
        yield feeder
    finally:
        feeder.is_unwanted.set()
        thread.join()
    if feeder.error:
        raise feeder.error


@contextmanager
def _frontier(work: Path, section: Crawl) -> Iterator[SqliteFrontier]:
    with closing(SqliteFrontier(work / "frontier.sqlite", section.attempts)) as frontier:
        yield frontier


def _keep_only(paths: set[str], out: Path) -> None:
    """Removes files that the ledger does not name: fetched beyond `max_files`, or by a try that was cut off."""
    for path in (out / "files").glob("*/*"):
        if path.relative_to(out).as_posix() not in paths:
            path.unlink()


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


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise _full(out) from error
    except sqlite3.OperationalError as error:
        if "full" not in str(error):
            raise
        raise _full(out) from error


def _full(out: Path) -> MachineError:
    return MachineError(f"no space is left for `{out}`", "free some, then run the same command: it goes on from here")
