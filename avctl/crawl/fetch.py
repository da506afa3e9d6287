"""One item, from its URL to a file in the artifact: robots, redirects, caps, and the reasons for giving up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from avctl.crawl.client import Client
from avctl.crawl.deposit import Deposit
from avctl.crawl.frontier import Item
from avctl.crawl.local import copy_local
from avctl.crawl.outcome import FetchFailure, Page, Stored
from avctl.crawl.pages import media_links
from avctl.crawl.politeness import REDIRECTS, Gate, Robots, retry_after_s
from avctl.crawl.provenance import FetchLog
from avctl.crawl.transfer import receive, resume_headers
from avctl.crawl.url import canonical, is_below

T = TypeVar("T")

_MAX_REDIRECTS = 10
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses worth another try


class Fetcher:
    """Fetches items of one crawl into the artifact `out`.

    `served` maps the prefix of a URL that stands in the ledger to the address where this process serves it.
    """

    def __init__(self, client: Client, out: Path, log: FetchLog, served: Mapping[str, str]):
        self.client, self.crawl, self.out, self.log, self.served = client, client.crawl, out, log, served
        self.gate = Gate(client)
        self.robots = Robots(client, self.gate)

    async def fetch(self, item: Item) -> Stored | Page:
        """Raises `FetchFailure`."""
        self._refuse_licence(item.licence)
        self._refuse_excluded(item.url)
        if item.url.startswith("file:"):
            return await _whole(partial(copy_local, item.url, self.out, self.crawl.max_bytes))
        url = self._address(item.url)
        for _ in range(1 + _MAX_REDIRECTS):
            verdict = await self.robots.check(url)
            answer = await self._ask(item, url, verdict)
            if not isinstance(answer, str):
                return answer
            url = answer
        raise FetchFailure("redirects", f"more than {_MAX_REDIRECTS}")

    async def _ask(self, item: Item, url: str, verdict: str) -> Stored | Page | str:
        """One request: a result, or the URL to which it is redirected."""
        deposit, is_over = Deposit(self.out, item.url, self.crawl.max_bytes), False
        try:
            async with self.gate.turn(url):
                answer = await self._exchange(item, url, deposit)
            if answer is None:
                sha256, path, size, kind = await _whole(deposit.finish)
                answer = Stored(sha256, path, size, kind.media_type, self._name(url), verdict)
            is_over = True
            return answer
        except FetchFailure as failure:
            is_over = not failure.is_passing
            raise
        finally:
            deposit.close(keep=not is_over)

    async def _exchange(self, item: Item, url: str, deposit: Deposit) -> Page | str | None:
        """None: the body lies in `deposit`."""
        try:
            with self.log.entry(item.url, self._name(url)) as entry:
                async with (
                    asyncio.timeout(self.crawl.max_seconds),
                    self.client.get(url, resume_headers(deposit)) as response,
                ):
                    entry.answered(response)
                    if response.status_code in REDIRECTS and "location" in response.headers:
                        return self._redirect(url, response.headers["location"])
                    self._check(url, response)
                    page = await receive(response, deposit, self.crawl, item.follow)
                    entry.received(deposit.size)
                    return None if page is None else self._page(url, page)
        except TimeoutError:
            raise FetchFailure("too_long", f"took more than {self.crawl.max_seconds:g} s", is_passing=True) from None

    def _redirect(self, url: str, location: str) -> str:
        target = canonical(urljoin(url, location))
        if not self.client.may_lead(url, target):
            raise FetchFailure("private_address", f"a redirect leads to `{urlsplit(target).hostname}`")
        self._refuse_excluded(target)
        return target

    def _check(self, url: str, response: httpx.Response) -> None:
        status = response.status_code
        if status in _PASSING:
            wait_s = retry_after_s(response)
            if wait_s:
                self.gate.pause(url, wait_s)
            raise FetchFailure("http_status", str(status), is_passing=True, retry_after_s=wait_s)
        if status not in (200, 206, 416):
            raise FetchFailure("http_status", str(status))
        if response.headers.get("content-encoding", "identity") != "identity":
            raise FetchFailure("encoded", "the body is compressed although that was not asked for")

    def _page(self, url: str, body: bytes) -> Page:
        links = media_links(body.decode("utf-8", "replace"), url)
        return Page(tuple(link for link in links if self.client.may_lead(url, link)))

    def _refuse_licence(self, licence: str | None) -> None:
        if self.crawl.licences is not None and licence not in self.crawl.licences:
            raise FetchFailure("licence", f"`{licence}` is not one that the recipe takes")

    def _refuse_excluded(self, url: str) -> None:
        for prefix in self.crawl.exclude:
            if is_below(url, prefix):
                raise FetchFailure("excluded", f"the recipe excludes `{prefix}`")

    def _address(self, url: str) -> str:
        for prefix, address in self.served.items():
            if url.startswith(prefix):
                return address + url.removeprefix(prefix)
        return url

    def _name(self, url: str) -> str:
        for prefix, address in self.served.items():
            if url.startswith(address):
                return prefix + url.removeprefix(address)
        return url


async def _whole(work: Callable[[], T]) -> T:
    """Runs `work` in a thread and, even when cancelled, goes on only after its end."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
