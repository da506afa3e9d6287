"""The body of one answer: read in chunks, never slower than agreed, and continued where a cut one stopped."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import httpx

from avctl.crawl.deposit import Deposit
from avctl.crawl.outcome import FetchFailure
from avctl.crawl.sniff import HEAD, sniff
from avctl.schema import Crawl

MAX_PAGE_BYTES = 5_000_000
_PAGE_TYPES = ("text/html", "application/xhtml+xml")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def resume_headers(deposit: Deposit) -> dict[str, str]:
    """Asks for the rest of a partial file, or for all of it if it has changed (RFC 9110, 13.1.5)."""
    if (partial := deposit.resumable()) is None:
        return {}
    size, etag = partial
    return {"Range": f"bytes={size}-", "If-Range": etag}


async def receive(response: httpx.Response, deposit: Deposit, crawl: Crawl, may_be_page: bool) -> bytes | None:
    """Reads the body into `deposit`; returns it instead if it is an HTML page. Raises `FetchFailure`."""
    expected = _start(deposit, response)
    length = response.headers.get("content-length", "")
    if length.isdigit() and deposit.size + int(length) > crawl.max_bytes:
        raise FetchFailure("too_large", f"more than {crawl.max_bytes} bytes")
    body = _chunks(response, crawl)
    if may_be_page and _media_type(response) in _PAGE_TYPES:
        head = await _take(body, HEAD)
        if sniff(head) is None:
            return head + await _take(body, MAX_PAGE_BYTES - len(head))
        deposit.write(head)
    async for chunk in body:
        deposit.write(chunk)
    if expected is not None and deposit.size != expected:
        raise FetchFailure("broken_off", "fewer bytes than announced", is_passing=True)
    return None


def _start(deposit: Deposit, response: httpx.Response) -> int | None:
    """Continues the partial file if that is what the server sends, else starts it again; the whole size, if stated."""
    etag = response.headers.get("etag", "")
    etag = None if etag.startswith("W/") else etag or None  # a weak one does not promise equal bytes
    if response.status_code == 200:
        deposit.restart(etag)
        return None
    partial = deposit.resumable()
    span = _RANGE.match(response.headers.get("content-range", "")) if response.status_code == 206 else None
    if partial is None or span is None or int(span[1]) != partial[0] or etag not in (None, partial[1]):
        deposit.restart(None)
        raise FetchFailure("changed", "the file changed between two tries", is_passing=True)
    deposit.resume(*partial)
    return int(span[2]) if span[2] != "*" else None


async def _chunks(response: httpx.Response, crawl: Crawl) -> AsyncIterator[bytes]:
    """The body as it comes. Raises `FetchFailure` when `speed_window_s` go by with too few bytes."""
    clock = asyncio.get_running_loop().time
    quota = crawl.min_bytes_per_s * crawl.speed_window_s
    body, until, received = response.aiter_raw(), clock() + crawl.speed_window_s, 0
    while True:
        try:
            async with asyncio.timeout_at(until if quota else None):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise FetchFailure("too_slow", f"under {crawl.min_bytes_per_s:g} bytes a second", is_passing=True) from None
        yield chunk
        received += len(chunk)
        if received >= quota:
            until, received = clock() + crawl.speed_window_s, 0


async def _take(body: AsyncIterator[bytes], size: int) -> bytes:
    """At least `size` bytes, or all there are."""
    taken = bytearray()
    while len(taken) < size:
        try:
            taken += await anext(body)
        except StopAsyncIteration:
            break
    return bytes(taken)


def _media_type(response: httpx.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()
