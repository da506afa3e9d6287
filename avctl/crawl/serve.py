"""A small HTTP server on the loopback address: byte ranges, strong ETags, robots.txt, and nothing but mp4 files."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

_CLIP = re.compile(r"/([0-9a-f]+/\d+\.mp4)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_ROBOTS = b"User-agent: *\nAllow: /\n"


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serves `folder`/<hex>/<digits>.mp4 at a free port of 127.0.0.1; gives the address, ending in a slash."""
    handler = type("Handler", (_Handler,), {"folder": folder})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, as a crawl does that ends early, is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else headers and body wait 40 ms for each other

    def do_GET(self) -> None:
        if self.path == "/robots.txt":
            self._answer(200, _ROBOTS, {"Content-Type": "text/plain"})
            return
        match = _CLIP.fullmatch(self.path)
        try:
            body = (self.folder / match[1]).read_bytes() if match else None
        except FileNotFoundError:
            body = None
        if body is None:
            self._answer(404, b"", {})
        else:
            self._send(body)

    def _send(self, body: bytes) -> None:
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        headers = {"Content-Type": "video/mp4", "ETag": etag, "Accept-Ranges": "bytes"}
        span = _RANGE.fullmatch(self.headers.get("Range", ""))
        if span is None or self.headers.get("If-Range", etag) != etag:
            self._answer(200, body, headers)
            return
        first, last = int(span[1]), min(int(span[2] or len(body)), len(body) - 1)
        if first > last:
            self._answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        else:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            self._answer(206, body[first : last + 1], headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are the crawl's own; it keeps its own log."""
