"""The frontier in one SQLite file: queue and results together, so that an ack and its result are one transaction.

An open item has `ready_at`: when it may be claimed, which for a leased item is when the lease ends. A settled item has
none. `claims` is both the number of claims and the fencing token: whoever claims again makes older tokens stale.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from avctl.crawl.frontier import Claim, Item, LostLease, Tally, Token
from avctl.crawl.outcome import Page, Stored
from avctl.crawl.url import host

MAX_LOST = 100  # leases of one item that ended without an answer: a killed crawl is hardly ever the item's fault

_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, position TEXT NOT NULL, host TEXT NOT NULL,
    source TEXT NOT NULL, follow INTEGER NOT NULL,
    caption TEXT, licence TEXT, split TEXT, truth TEXT,
    ready_at REAL, leased INTEGER NOT NULL DEFAULT 0,
    claims INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,
    reason TEXT, detail TEXT,
    sha256 TEXT, path TEXT, bytes INTEGER, media_type TEXT, final_url TEXT, robots TEXT
);
CREATE INDEX IF NOT EXISTS open_items ON items(position) WHERE ready_at IS NOT NULL;
"""
_ENQUEUE = """
INSERT INTO items (url, position, host, source, follow, caption, licence, split, truth, ready_at, reason, detail)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (url) DO UPDATE SET
    position = excluded.position, source = excluded.source, follow = excluded.follow,
    caption = excluded.caption, licence = excluded.licence, split = excluded.split, truth = excluded.truth,
    ready_at = CASE WHEN {again} THEN excluded.ready_at ELSE ready_at END,
    reason = CASE WHEN {again} THEN excluded.reason ELSE reason END,
    detail = CASE WHEN {again} THEN excluded.detail ELSE detail END,
    claims = claims + ({again}), leased = leased AND NOT ({again}), failures = failures * NOT ({again})
WHERE excluded.position < items.position
""".format(again="excluded.follow <> items.follow AND items.sha256 IS NULL")
_CLAIM = """
UPDATE items SET claims = claims + 1, lost = lost + leased, leased = 1, ready_at = ? WHERE id IN (
    SELECT id FROM items WHERE ready_at <= ? AND position <= ? AND host NOT IN ({hosts}) ORDER BY position LIMIT ?
) RETURNING id, claims, failures, url, position, source, follow, caption, licence, split, truth
"""
_ABANDON = """
UPDATE items SET ready_at = NULL, leased = 0, reason = 'abandoned', detail = 'every worker that took it was lost'
WHERE ready_at <= ? AND leased AND lost >= ?
"""
_STORE = """
UPDATE items SET ready_at = NULL, leased = 0, reason = NULL, detail = NULL,
    sha256 = ?, path = ?, bytes = ?, media_type = ?, final_url = ?, robots = ?
WHERE id = ? AND claims = ? AND leased
"""
_FAIL = """
UPDATE items SET ready_at = CASE WHEN failures + 1 < ? THEN ? END, leased = 0, failures = failures + 1,
    reason = ?, detail = ?
WHERE id = ? AND claims = ? AND leased
"""
_ADOPT_FILES = """
INSERT OR IGNORE INTO items (host, follow, sha256, path, bytes, media_type, url, final_url, source, caption, licence,
    split, robots, truth, position)
SELECT '', 0, sha256, path, bytes, media_type, url, final_url, source, caption, licence, split, robots, truth, position
FROM ledger.files
"""
_ADOPT_DUPLICATES = """
INSERT OR IGNORE INTO items (host, follow, source, sha256, path, bytes, media_type, url, position)
SELECT '', 0, '', sha256, files.path, files.bytes, files.media_type, duplicates.url, duplicates.position
FROM ledger.duplicates JOIN ledger.files USING (sha256)
"""
_LAST = "\U0010ffff"  # sorts after every position


class SqliteFrontier:
    """One connection to the file `path`; each thread and each process opens its own."""

    def __init__(self, path: Path, attempts: int, clock: Callable[[], float] = time.time):
        """`attempts` failed tries make a dead letter; `clock` gives Unix time."""
        self.attempts, self.clock = attempts, clock
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # a lost tail of the log is fetched again
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def enqueue(self, items: Sequence[Item]) -> None:
        with self._transaction():
            self._insert(items)

    def claim(self, count: int, lease_s: float, until: str | None = None, without: Collection[str] = ()) -> list[Claim]:
        now, hosts = self.clock(), sorted(without)
        statement = _CLAIM.format(hosts=", ".join("?" * len(hosts)))
        with self._transaction():
            self._db.execute(_ABANDON, (now, MAX_LOST))
            values = (now + lease_s, now, until or _LAST, *hosts, count)
            rows = self._db.execute(statement, values).fetchall()
        return sorted((_claim(row) for row in rows), key=lambda claim: claim.item.position)

    def renew(self, tokens: Collection[Token], lease_s: float) -> set[Token]:
        until = self.clock() + lease_s
        with self._transaction():
            return {token for token in tokens if not self._holds(token, "ready_at = ?", until)}

    def release(self, tokens: Collection[Token]) -> None:
        with self._transaction():
            for token in tokens:
                self._holds(token, "leased = 0, ready_at = ?", 0.0)

    def ack(self, token: Token, result: Stored | Page, found: Sequence[Item] = ()) -> None:
        match result:
            case Stored():
                values = (result.sha256, result.path, result.bytes, result.media_type, result.final_url, result.robots)
            case Page():
                values = (None, None, None, None, None, None)
        with self._transaction():
            if not self._db.execute(_STORE, (*values, *_row(token))).rowcount:
                raise LostLease(token)
            self._insert(found)

    def fail(self, token: Token, reason: str, detail: str, retry_at: float | None) -> None:
        with self._transaction():
            values = (self.attempts, retry_at, reason, detail, *_row(token))
            if not self._db.execute(_FAIL, values).rowcount:
                raise LostLease(token)

    def revive(self) -> int:
        with self._transaction():
            on_arrival = self._db.execute("DELETE FROM items WHERE reason NOT NULL AND claims = 0").rowcount
            return (
                on_arrival
                + self._db.execute(
                    "UPDATE items SET ready_at = 0, failures = 0, lost = 0 WHERE ready_at IS NULL AND reason NOT NULL"
                ).rowcount
            )

    def expire_leases(self) -> None:
        """Ends every lease now. Only for the one who knows that no other worker lives."""
        self._db.execute("UPDATE items SET ready_at = 0 WHERE leased")

    def adopt(self, ledger: Path) -> None:
        """Takes over what an earlier crawl stored: its files and duplicates are settled, its dead letters forgotten."""
        self._db.execute("ATTACH ? AS ledger", (str(ledger),))
        with self._transaction():
            self._db.execute(_ADOPT_FILES)
            self._db.execute(_ADOPT_DUPLICATES)
        self._db.execute("DETACH ledger")

    def is_settled(self, url: str) -> bool:
        return bool(self._db.execute("SELECT 1 FROM items WHERE url = ? AND ready_at IS NULL", (url,)).fetchone())

    def is_open(self, until: str | None = None) -> bool:
        query = "SELECT 1 FROM items WHERE ready_at IS NOT NULL AND position <= ? LIMIT 1"
        return self._db.execute(query, (until or _LAST,)).fetchone() is not None

    def horizon(self, count: int) -> str | None:
        row = self._db.execute(
            "SELECT min(position) AS first FROM items WHERE sha256 NOT NULL GROUP BY sha256"
            " ORDER BY first LIMIT 1 OFFSET ?",
            (count - 1,),
        ).fetchone()
        return row and row[0]

    def tally(self, until: str | None = None) -> Tally:
        row = self._db.execute(
            "SELECT count(ready_at), count(DISTINCT sha256), count(sha256) - count(DISTINCT sha256),"
            " sum(ready_at IS NULL AND sha256 IS NULL AND reason IS NULL),"
            " sum(ready_at IS NULL AND reason NOT NULL), sum(bytes) FROM items WHERE position <= ?",
            (until or _LAST,),
        ).fetchone()
        return Tally(*(value or 0 for value in row))

    def files(self, until: str | None = None) -> Iterator[tuple]:
        """Rows of stored items in source order: sha256, path, bytes, media_type, url, final_url, source, caption,
        licence, split, robots, truth, position."""
        yield from self._db.execute(
            "SELECT sha256, path, bytes, media_type, url, final_url, source, caption, licence, split, robots, truth,"
            " position FROM items WHERE sha256 NOT NULL AND position <= ? ORDER BY position",
            (until or _LAST,),
        )

    def dead(self, until: str | None = None) -> Iterator[tuple[str, str, str, int]]:
        """Dead letters: url, reason, detail, failed tries; sorted by URL."""
        yield from self._db.execute(
            "SELECT url, reason, detail, failures FROM items"
            " WHERE ready_at IS NULL AND reason NOT NULL AND position <= ? ORDER BY url",
            (until or _LAST,),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _insert(self, items: Sequence[Item]) -> None:
        self._db.executemany(_ENQUEUE, map(_values, items))

    def _holds(self, token: Token, change: str, value: float) -> bool:
        statement = f"UPDATE items SET {change} WHERE id = ? AND claims = ? AND leased"
        return self._db.execute(statement, (value, *_row(token))).rowcount == 1


def _values(item: Item) -> tuple:
    reason, detail = item.refusal or (None, None)
    about = (item.source, item.follow, item.caption, item.licence, item.split, item.truth)
    return (item.url, item.position, host(item.url), *about, None if item.refusal else 0.0, reason, detail)


def _claim(row: tuple) -> Claim:
    key, claims, failures, url, position, source, follow, *about = row
    return Claim(Item(url, position, source, bool(follow), *about), f"{key}.{claims}", failures)


def _row(token: Token) -> tuple[int, int]:
    key, claims = token.split(".")
    return int(key), int(claims)
