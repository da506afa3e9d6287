from __future__ import annotations

from collections.abc import Callable

import pytest

from avctl.schema import Crawl, Directory, Synthetic, Web

Refusal = Callable[[Callable[[], object]], str]


def test_sources_of_every_kind_stand_side_by_side():
    sources = (Directory(path="videos"), Web(urls=("https://example.org/a.mp4",)), Synthetic(count=1))  # pyright: ignore
    assert len(Crawl(sources=sources, allow_private=("127.0.0.1",)).sources) == 3


def test_synthetic_clips_need_leave_for_the_loopback(refusal: Refusal):
    assert refusal(lambda: Crawl(sources=(Synthetic(count=1),))).startswith("`Crawl.allow_private`")


@pytest.mark.parametrize(
    "build",
    [
        lambda: Crawl(sources=()),
        lambda: Web(urls=()),
        lambda: Synthetic(count=0),
        lambda: Synthetic(count=1, size=(33, 32)),
        lambda: Synthetic(count=1, size=(4, 4)),
        lambda: Synthetic(count=1, sample_rate=20_000),
        lambda: Crawl(sources=(Directory(path="a"),), exclude=("a.example:8080",)),  # pyright: ignore
        lambda: Crawl(sources=(Directory(path="a"),), exclude=("ftp://a.example/",)),  # pyright: ignore
        lambda: Crawl(sources=(Directory(path="a"),), max_files=0),  # pyright: ignore
        lambda: Crawl(sources=(Directory(path="a"),), user_agent="line\nbreak"),  # pyright: ignore
    ],
)
def test_nothing_to_fetch_is_refused(refusal: Refusal, build: Callable[[], object]):
    assert refusal(build)
