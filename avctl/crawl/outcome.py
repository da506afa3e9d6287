"""How the work on one item ends: a stored file, a page of links, or a failure with a reason class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stored:
    """A file that lies in the artifact."""

    sha256: str
    path: str  # relative to the artifact
    bytes: int
    media_type: str
    final_url: str  # after redirects
    robots: str  # allowed | none (the host has no robots.txt) | local


@dataclass(frozen=True)
class Page:
    """An HTML page and the media that it links to, in order of appearance."""

    links: tuple[str, ...]


class FetchFailure(Exception):
    """An item that could not be had. `reason` is a class for counting, `detail` says the particulars.

    Neither holds a time, a port or an address of memory, so that two crawls of the same world say the same.
    """

    def __init__(self, reason: str, detail: str, *, is_passing: bool = False, retry_after_s: float | None = None):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
        self.is_passing = is_passing  # worth another try
        self.retry_after_s = retry_after_s  # when the server says so
