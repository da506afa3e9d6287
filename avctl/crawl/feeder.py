"""Collecting: a thread that walks the sources and enqueues what it finds, while others already fetch it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

from avctl.crawl.frontier import Item
from avctl.crawl.sources import collect
from avctl.crawl.sources.synthetic import Studio
from avctl.crawl.sqlite_frontier import SqliteFrontier
from avctl.schema import Crawl

_AT_ONCE, _AFTER_S = 256, 0.1  # items and seconds after which what was collected is enqueued


class Feeder:
    """Feeds the frontier at `queue` from the sources of `crawl`; synthetic clips go below the folder of `queue`."""

    def __init__(self, queue: Path, crawl: Crawl, workers: int, stop: Event):
        """`workers` processes render synthetic clips."""
        self.queue, self.crawl, self.workers, self.stop = queue, crawl, workers, stop
        self.is_done, self.is_unwanted = Event(), Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Feeds until the sources end, or nobody wants more; an error is kept for whoever waits."""
        try:
            with (
                closing(SqliteFrontier(self.queue, self.crawl.attempts)) as frontier,
                Studio(self.queue.parent / "rendered", self.workers, frontier.is_settled) as studio,
            ):
                self._feed(collect(self.crawl, studio), frontier)
        except BaseException as error:
            self.error = error
        finally:
            self.is_done.set()

    def _feed(self, items: Iterator[Item], frontier: SqliteFrontier) -> None:
        batch, due = list[Item](), 0.0
        for item in items:
            if self.stop.is_set() or self.is_unwanted.is_set():
                break
            batch.append(item)
            if len(batch) == _AT_ONCE or time.monotonic() >= due:
                frontier.enqueue(batch)
                batch.clear()
                due = time.monotonic() + _AFTER_S
        frontier.enqueue(batch)


@contextmanager
def feeding(queue: Path, crawl: Crawl, workers: int, stop: Event) -> Iterator[Feeder]:
    """A feeder at work inside the block; its error, if it has one, is raised at the end."""
    feeder = Feeder(queue, crawl, workers, stop)
    thread = Thread(target=feeder.run)
    thread.start()
    try:
        yield feeder
    finally:
        feeder.is_unwanted.set()
        thread.join()
    if feeder.error and not stop.is_set():  # TERM to all processes at once also ends those that render
        raise feeder.error
