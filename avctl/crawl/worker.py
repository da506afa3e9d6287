"""The work of a crawl: claims items, fetches many at once, settles each, and ends when all is settled."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

from avctl.crawl.frontier import Claim, Frontier, Item, LostLease, Tally
from avctl.crawl.outcome import FetchFailure, Page, Stored
from avctl.crawl.url import host
from avctl.job import Interrupted

LEASE_S = 60.0
_AT_ONCE = 64  # items in hand
_BATCH = 16  # claimed together
_OF_ONE_HOST = 8  # in hand before other hosts are preferred: a host is asked one thing at a time anyway
_POLL_S = 0.1
_REPORT_S = 0.5
_MAX_WAIT_S = 600.0  # a server that wants more patience gets it from `--retry`


@dataclass
class Worker:
    """One claimer of `frontier`. `is_collected` is set when nothing more will be enqueued from outside."""

    frontier: Frontier
    fetch: Callable[[Item], Awaitable[Stored | Page]]
    is_collected: Event
    stop: Event
    backoff_s: float
    max_files: int | None
    observe: Callable[[Tally], None]
    horizon: str | None = None  # position of the last file that is wanted
    _hands: dict[asyncio.Task[Stored | Page], Claim] = field(default_factory=dict)
    _crowded: frozenset[str] = frozenset()  # hosts that the last claim left out
    _claim_at: float = 0.0
    _renew_at: float = 0.0
    _observe_at: float = 0.0
    _jitter: random.Random = field(default_factory=lambda: random.Random(0))  # moves tries in time only

    async def run(self) -> None:
        """Works until all is settled. Raises `Interrupted` on `stop`; what is in hand is given back in any case."""
        try:
            while not self._is_done():
                if self.stop.is_set():
                    raise Interrupted
                self._claim()
                await self._settle_some()
                self._renew()
                self._report()
        finally:
            await self._let_go()

    def _is_done(self) -> bool:
        is_fed = self.is_collected.is_set()  # asked before the frontier is: it may be filled in between
        if self._hands or not (is_fed or self.max_files):
            return False
        self._look_ahead()
        return (is_fed or self.horizon is not None) and not self.frontier.is_open(self.horizon)

    def _look_ahead(self) -> int:
        """How many items may be claimed so that no more is fetched than `max_files` asks for; sets the horizon."""
        if self.max_files is None:
            return _BATCH
        missing = self.max_files - self.frontier.tally().files
        if missing > 0:
            return min(_BATCH, max(0, missing - len(self._hands)))
        self.horizon = self.frontier.horizon(self.max_files)
        return _BATCH

    def _claim(self) -> None:
        hosts = Counter(host(claim.item.url) for claim in self._hands.values())
        crowded = frozenset(name for name, count in hosts.items() if count >= _OF_ONE_HOST)
        start = time.monotonic()
        is_early = start < self._claim_at and self._crowded <= crowded
        if is_early or len(self._hands) > _AT_ONCE - _BATCH or not (count := self._look_ahead()):
            return
        claims = self.frontier.claim(count, LEASE_S, self.horizon, crowded)
        for claim in claims:
            self._hands[asyncio.create_task(self._fetch(claim.item))] = claim
        end = time.monotonic()
        self._crowded = crowded
        self._claim_at = 0.0 if len(claims) == count else end + max(_POLL_S, 10 * (end - start))

    async def _fetch(self, item: Item) -> Stored | Page:
        return await self.fetch(item)

    async def _settle_some(self) -> None:
        if not self._hands:
            await asyncio.sleep(_POLL_S)
            return
        done, _ = await asyncio.wait(self._hands, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            claim = self._hands[task]
            with suppress(LostLease):  # it went to somebody else, whose result counts
                self._settle(claim, task)
            del self._hands[task]

    def _settle(self, claim: Claim, task: asyncio.Task[Stored | Page]) -> None:
        try:
            result = task.result()
        except FetchFailure as failure:
            self.frontier.fail(claim.token, failure.reason, failure.detail, self._retry_at(claim, failure))
        else:
            found = _linked(claim.item, result) if isinstance(result, Page) else ()
            self.frontier.ack(claim.token, result, found)

    def _retry_at(self, claim: Claim, failure: FetchFailure) -> float | None:
        wait_s = failure.retry_after_s or self.backoff_s * 4**claim.failures * self._jitter.uniform(1.0, 1.5)
        return time.time() + wait_s if failure.is_passing and wait_s <= _MAX_WAIT_S else None

    def _renew(self) -> None:
        if self._hands and time.monotonic() >= self._renew_at:
            lost = self.frontier.renew([claim.token for claim in self._hands.values()], LEASE_S)
            for task in [task for task, claim in self._hands.items() if claim.token in lost]:
                task.cancel()
                del self._hands[task]
            self._renew_at = time.monotonic() + LEASE_S / 4

    def _report(self) -> None:
        if (start := time.monotonic()) >= self._observe_at:
            self.observe(self.frontier.tally())
            end = time.monotonic()
            self._observe_at = end + max(_REPORT_S, 20 * (end - start))  # counting never takes a twentieth of the time

    async def _let_go(self) -> None:
        for task in self._hands:
            task.cancel()
        await asyncio.gather(*self._hands, return_exceptions=True)
        self.frontier.release([claim.token for claim in self._hands.values()])
        self._hands.clear()


def _linked(page: Item, result: Page) -> list[Item]:
    """The files that a page links to stand right behind it in the order of the sources."""
    return [
        Item(url, f"{page.position}/{index:06d}", page.source, licence=page.licence)
        for index, url in enumerate(result.links)
    ]
