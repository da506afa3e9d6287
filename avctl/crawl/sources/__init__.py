"""Sources: each is a stream of items, in an order that depends on nothing but the recipe and the world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from avctl.crawl.frontier import Item
from avctl.crawl.outcome import FetchFailure
from avctl.crawl.sources.directory import walk
from avctl.crawl.sources.manifest import read_manifest
from avctl.crawl.sources.synthetic import Studio
from avctl.crawl.url import canonical
from avctl.schema import Crawl, Directory, Manifest, Source, Synthetic, Web


def collect(crawl: Crawl, studio: Studio) -> Iterator[Item]:
    """Every item of every source, with its position. Raises `InputError` for a source that cannot be read."""
    for number, source in enumerate(crawl.sources):
        for index, item in enumerate(_items(source, studio)):
            yield replace(item, position=f"{number:04d}.{index:010d}")


def expected(crawl: Crawl) -> int | None:
    """How many items there will be at least, if that is known before they are collected."""
    counts = [_count(source) for source in crawl.sources]
    return None if None in counts else sum(filter(None, counts))


def _items(source: Source, studio: Studio) -> Iterator[Item]:
    match source:
        case Directory():
            return walk(source.path)
        case Manifest():
            return read_manifest(source.path)
        case Web():
            return map(_named, source.urls)
        case Synthetic():
            return studio.items(source)


def _named(url: str) -> Item:
    try:
        return Item(canonical(url), "", "web", follow=True)
    except FetchFailure as failure:
        return Item(url, "", "web", refusal=(failure.reason, failure.detail))


def _count(source: Source) -> int | None:
    match source:
        case Web():
            return len(source.urls)
        case Synthetic():
            return source.count
        case _:
            return None
