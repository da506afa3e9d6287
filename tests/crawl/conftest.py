"""A web site on the loopback address that behaves as badly as a test wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from avctl.crawl.client import Client
from avctl.crawl.fetch import Fetcher
from avctl.crawl.frontier import Item
from avctl.crawl.outcome import Page, Stored
from avctl.crawl.provenance import FetchLog
from avctl.schema import Crawl, Web

Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.site.requests.append((self.path, dict(self.headers), time.monotonic()))
        self.site.on_request(len(self.site.requests))
        if answer := self.site.pages.get(self.path):
            answer(self)
        else:
            self.send(404, b"nothing here")

    def send(self, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
        """Answers with `body`; a stated `length` beyond it is a promise that is not kept."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or length is not None

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A crawler that was killed does not say goodbye."""


class Site:
    """Answers by path; keeps what it was asked: path, headers, monotonic time."""

    def __init__(self, address: str):
        self.address = address
        self.pages: dict[str, Answer] = {}
        self.requests: list[tuple[str, dict[str, str], float]] = []
        self.on_request: Callable[[int], object] = lambda number: None
        self.end = Event()  # what a stalled answer waits for

    def url(self, path: str) -> str:
        return f"{self.address}{path}"

    def serve(self, path: str, body: bytes, status: int = 200, **headers: str) -> str:
        self.pages[path] = lambda request: request.send(status, body, None, **headers)
        return self.url(path)

    def redirect(self, path: str, target: str) -> str:
        return self.serve(path, b"", 302, Location=target)

    def asked(self) -> list[str]:
        return [path for path, _, _ in self.requests if path != "/robots.txt"]


@pytest.fixture
def site() -> Iterator[Site]:
    handler = type("Handler", (Request,), {})
    with Server(("127.0.0.1", 0), handler) as server:
        site = handler.site = Site(f"http://127.0.0.1:{server.server_address[1]}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield site
        site.end.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def clip() -> Callable[[int, int], bytes]:
    """Bytes that begin as an mp4 does, all different for another `number`."""

    def make(number: int, size: int = 3_000) -> bytes:
        head = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + number.to_bytes(8)
        return (head * (size // len(head) + 1))[:size]

    return make


@pytest.fixture
def crawl() -> Callable[..., Crawl]:
    """A crawl section that may ask the test's site."""

    def make(**fields: Any) -> Crawl:
        defaults = {
            "sources": (Web(urls=("http://example.org/",)),),
            "allow_private": ("127.0.0.1",),
            "backoff_s": 0.01,
        }
        return Crawl(**{**defaults, **fields})

    return make


@pytest.fixture
def fetch(tmp_path: Path, crawl: Callable[..., Crawl]) -> Callable[..., Stored | Page]:
    """Fetches one item into `tmp_path` as a crawl with these fields would; raises `Failure`."""

    async def run(section: Crawl, item: Item) -> Stored | Page:
        with closing(FetchLog(tmp_path / "fetches.volatile.jsonl")) as log:
            async with Client(section) as client:
                return await Fetcher(client, tmp_path, log, {}).fetch(item)

    def make(url: str, follow: bool = False, licence: str | None = None, **fields: Any) -> Stored | Page:
        return asyncio.run(run(crawl(**fields), Item(url, "0", "test", follow=follow, licence=licence)))

    return make
