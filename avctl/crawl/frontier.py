"""The queue of a crawl: items are enqueued, leased to workers, and settled by a result or as dead letters.

An item is settled by whoever holds its latest lease: a worker that was slow or stalled finds its token refused.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from avctl.crawl.outcome import Page, Stored

Token = str  # proof of one lease; opaque to workers


@dataclass(frozen=True)
class Item:
    """One file to fetch, with what its source says about it."""

    url: str  # canonical
    position: str  # place in the order of the sources, sorted as text
    source: str
    follow: bool = False  # an HTML answer is a page whose links are enqueued
    caption: str | None = None
    licence: str | None = None
    split: str | None = None
    truth: str | None = None  # JSON
    refusal: tuple[str, str] | None = None  # reason and detail of an item that is dead on arrival


class Claim(NamedTuple):
    item: Item
    token: Token
    failures: int  # tries that failed before this one


@dataclass(frozen=True)
class Tally:
    open: int
    files: int  # distinct
    duplicates: int
    pages: int
    dead: int
    bytes: int  # fetched, duplicates included

    @property
    def settled(self) -> int:
        return self.files + self.duplicates + self.pages + self.dead


class LostLease(Exception):
    """The lease ran out and the item went to somebody else: this result does not count."""


class Frontier(Protocol):
    """What the crawl needs of a queue. All times are seconds; every call is atomic and survives `kill -9`."""

    def enqueue(self, items: Sequence[Item]) -> None:
        """Adds items. Of two with one URL the one with the lower position counts, whichever comes first."""
        ...

    def claim(self, count: int, lease_s: float, until: str | None = None, without: Collection[str] = ()) -> list[Claim]:
        """Leases up to `count` items that are due, lowest positions first: none after the position `until`,
        none of the hosts in `without`. The claim is counted now, so that a worker that dies has used it up."""
        ...

    def renew(self, tokens: Collection[Token], lease_s: float) -> set[Token]:
        """Extends leases; returns the tokens that were lost."""
        ...

    def release(self, tokens: Collection[Token]) -> None:
        """Gives items back untried."""
        ...

    def ack(self, token: Token, result: Stored | Page, found: Sequence[Item] = ()) -> None:
        """Settles an item and enqueues what it led to, in one transaction. Raises `LostLease`."""
        ...

    def fail(self, token: Token, reason: str, detail: str, retry_at: float | None) -> None:
        """Records a failed try: due again at `retry_at` (Unix time), or a dead letter if that is None
        or the tries are used up. Raises `LostLease`."""
        ...

    def revive(self) -> int:
        """Makes every dead letter due again, with all its tries; returns how many."""
        ...

    def is_settled(self, url: str) -> bool:
        """Whether this item is done with."""
        ...

    def is_open(self, until: str | None = None) -> bool:
        """Whether any item up to the position `until` is not."""
        ...

    def horizon(self, count: int) -> str | None:
        """Position of the last of the first `count` distinct files, or None while there are fewer."""
        ...

    def tally(self, until: str | None = None) -> Tally:
        """Counts over all items, or over those up to the position `until`."""
        ...
