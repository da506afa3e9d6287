"""Good manners: one request at a time to a host, a pause between two, and robots.txt as RFC 9309 has it."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urljoin, urlsplit

import httpx
from protego import Protego

from avctl.crawl.client import Client
from avctl.crawl.outcome import FetchFailure
from avctl.crawl.url import canonical, host

REDIRECTS = (301, 302, 303, 307, 308)
_MAX_ROBOTS_REDIRECTS = 5  # RFC 9309, 2.3.1.2
_MAX_ROBOTS_BYTES = 500 * 1_024  # RFC 9309, 2.5
_PRIVATE_TURNS = 8  # the crawler is at home there, and waiting costs it more than the host
_MAX_ROBOTS_S = 60.0
_MAX_DELAY_S = 60.0  # a longer Crawl-delay would stop the crawl

Verdict = Literal["allowed", "none"]  # none: the host has no robots.txt


@dataclass
class _Host:
    turns: asyncio.Semaphore
    interval_s: float
    delay_s: float = 0.0  # asked for by robots.txt
    ready_at: float = 0.0  # on the clock of the event loop


class Gate:
    """Lets one request at a time through to each host; to a private one without an interval, a few."""

    def __init__(self, client: Client):
        self.client = client
        self._hosts: dict[str, _Host] = {}
        self._jitter = random.Random(0)  # moves requests in time only

    @asynccontextmanager
    async def turn(self, url: str) -> AsyncIterator[None]:
        """Waits for the host of `url` to be free and due; holds it inside the block."""
        slot, clock = self._slot(url), asyncio.get_running_loop().time
        async with slot.turns:
            if (wait := slot.ready_at - clock()) > 0:
                await asyncio.sleep(wait)
            try:
                yield
            finally:
                slot.ready_at = max(slot.ready_at, clock() + self._pause_s(slot))

    def pause(self, url: str, seconds: float) -> None:
        """The host asked for silence."""
        slot = self._slot(url)
        slot.ready_at = max(slot.ready_at, asyncio.get_running_loop().time() + seconds)

    def slow_down(self, url: str, delay_s: float) -> None:
        """The host asked for a distance between requests."""
        self._slot(url).delay_s = min(delay_s, _MAX_DELAY_S)

    def _pause_s(self, slot: _Host) -> float:
        return max(slot.interval_s, slot.delay_s) * self._jitter.uniform(1.0, 1.3)

    def _slot(self, url: str) -> _Host:
        if (slot := self._hosts.get(host(url))) is None:
            crawl, is_private = self.client.crawl, self.client.is_private(url)
            interval_s = crawl.private_interval_s if is_private else crawl.host_interval_s
            turns = asyncio.Semaphore(1 if interval_s or not is_private else _PRIVATE_TURNS)
            slot = self._hosts[host(url)] = _Host(turns, interval_s)
        return slot


class Robots:
    """robots.txt of every host met, fetched once a crawl."""

    def __init__(self, client: Client, gate: Gate):
        self.client, self.gate = client, gate
        self._agent = client.crawl.user_agent.partition("/")[0].strip()  # product token
        self._rules: dict[str, Protego | None] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def check(self, url: str) -> Verdict:
        """Raises `FetchFailure` if `url` is disallowed, or if robots.txt cannot be had."""
        origin = urljoin(url, "/robots.txt")
        async with self._locks[origin]:
            if origin not in self._rules:
                self._rules[origin] = await self._ask(origin)
                self._obey_delay(origin)
        rules = self._rules[origin]
        if rules is None:
            return "none"
        if not rules.can_fetch(url, self._agent):
            raise FetchFailure("robots", f"{urlsplit(url).hostname} disallows it")
        return "allowed"

    def _obey_delay(self, origin: str) -> None:
        rules = self._rules[origin]
        if rules and (delay := rules.crawl_delay(self._agent)):
            self.gate.slow_down(origin, float(delay))

    async def _ask(self, url: str) -> Protego | None:
        """The rules at `url`; None if there are none (4xx, or redirects without end)."""
        for _ in range(1 + _MAX_ROBOTS_REDIRECTS):
            async with self.gate.turn(url), _patience(), self.client.get(url) as answer:
                if answer.status_code in REDIRECTS and "location" in answer.headers:
                    target = canonical(urljoin(url, answer.headers["location"]))
                    if not self.client.may_lead(url, target):
                        raise FetchFailure("robots_unreachable", "robots.txt leads to a private host")
                    url = target
                    continue
                return await self._read(url, answer)
        return None

    async def _read(self, url: str, answer: httpx.Response) -> Protego | None:
        status = answer.status_code
        if status >= 500 or status == 429:  # 429 would count as "no rules", but who says it wants fewer requests
            wait_s = retry_after_s(answer)
            if wait_s:
                self.gate.pause(url, wait_s)
            raise FetchFailure(
                "robots_unreachable", f"robots.txt answers {status}", is_passing=True, retry_after_s=wait_s
            )
        if status != 200:
            return None
        return Protego.parse((await _read_start(answer, _MAX_ROBOTS_BYTES)).decode("utf-8", "replace"))


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_MAX_ROBOTS_S):
            yield
    except TimeoutError:
        raise FetchFailure("robots_unreachable", "robots.txt comes too slowly", is_passing=True) from None


async def _read_start(answer: httpx.Response, max_bytes: int) -> bytes:
    """The first `max_bytes` of a body."""
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) >= max_bytes:
            break
    return bytes(body[:max_bytes])


def retry_after_s(answer: httpx.Response) -> float | None:
    """Seconds that `Retry-After` asks for (a number, or a date: RFC 9110, 10.2.3)."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(answer.headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError):
        return None
