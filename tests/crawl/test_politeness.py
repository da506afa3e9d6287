import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest

from avctl.crawl.client import Client
from avctl.crawl.outcome import FetchFailure
from avctl.crawl.politeness import Gate, Robots, retry_after_s
from avctl.schema import Crawl

Make = Callable[..., Crawl]


def verdict(section: Crawl, *urls: str) -> list[str]:
    """What robots.txt says to each URL, or the failure and whether it passes."""

    async def run() -> list[str]:
        async with Client(section) as client:
            robots, verdicts = Robots(client, Gate(client)), list[str]()
            for url in urls:
                try:
                    verdicts.append(await robots.check(url))
                except FetchFailure as failure:
                    verdicts.append(f"{failure.reason} {'for now' if failure.is_passing else 'for good'}")
            return verdicts

    return asyncio.run(run())


def test_robots_txt_is_obeyed_and_asked_once(site: Any, crawl: Make) -> None:
    site.serve(
        "/robots.txt", b"User-agent: *\nDisallow: /\n\nUser-agent: avctl\nDisallow: /private\nAllow: /private/ok$\n"
    )
    urls = [site.url(path) for path in ("/a.mp4", "/private/a.mp4", "/private/ok", "/private/ok/no")]
    assert verdict(crawl(), *urls) == ["allowed", "robots for good", "allowed", "robots for good"]
    assert len(site.requests) == 1


def test_rules_for_everybody_hold_for_an_unnamed_crawler(site: Any, crawl: Make) -> None:
    site.serve("/robots.txt", b"User-agent: somebody\nAllow: /\n\nUser-agent: *\nDisallow: /\n")
    assert verdict(crawl(user_agent="avctl/0.1 (not somebody)"), site.url("/a")) == ["robots for good"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_host_without_robots_txt_allows_everything(site: Any, crawl: Make, status: int) -> None:
    site.serve("/robots.txt", b"User-agent: *\nDisallow: /", status)
    assert verdict(crawl(), site.url("/a")) == ["none"]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_host_whose_robots_txt_fails_disallows_everything_for_now(site: Any, crawl: Make, status: int) -> None:
    site.serve("/robots.txt", b"", status)
    assert verdict(crawl(), site.url("/a")) == ["robots_unreachable for now"]


def test_a_robots_txt_that_breaks_off_disallows_everything_for_now(site: Any, crawl: Make) -> None:
    site.pages["/robots.txt"] = lambda request: request.send(200, b"User-agent", length=100)
    assert verdict(crawl(), site.url("/a")) == ["broken_off for now"]


def test_five_redirects_of_robots_txt_are_followed_and_no_more(site: Any, crawl: Make) -> None:
    site.redirect("/robots.txt", "/1")
    for step in range(1, 5):
        site.redirect(f"/{step}", f"/{step + 1}")
    site.serve("/5", b"User-agent: *\nDisallow: /")
    assert verdict(crawl(), site.url("/a")) == ["robots for good"]
    site.redirect("/5", "/6")
    site.serve("/6", b"User-agent: *\nDisallow: /")
    assert verdict(crawl(), site.url("/a")) == ["none"]


def test_robots_txt_cannot_lead_to_a_private_address(site: Any, crawl: Make) -> None:
    site.redirect("/robots.txt", site.url("/elsewhere").replace("127.0.0.1", "localhost"))
    assert verdict(crawl(), site.url("/a")) == ["private_address for good"]


def test_only_the_first_500_kibibytes_of_robots_txt_count(site: Any, crawl: Make) -> None:
    site.serve("/robots.txt", b"User-agent: *\nDisallow: /a\n" + b"#" * 512_000 + b"\nDisallow: /b\n")
    assert verdict(crawl(), site.url("/a"), site.url("/b")) == ["robots for good", "allowed"]


def test_robots_txt_may_be_nonsense(site: Any, crawl: Make) -> None:
    site.serve("/robots.txt", b"\xff\xfe\x00<html>Disallow: /\x00\nCrawl-delay: soon\n")
    assert verdict(crawl(), site.url("/a")) == ["allowed"]


def test_a_host_is_asked_one_thing_at_a_time_with_a_pause_between(crawl: Make) -> None:
    starts, at_once, most = list[float](), 0, 0

    async def ask(gate: Gate, url: str) -> None:
        nonlocal at_once, most
        async with gate.turn(url):
            at_once += 1
            most = max(most, at_once)
            starts.append(time.monotonic())
            await asyncio.sleep(0)
            at_once -= 1

    async def run() -> None:
        gate = Gate(Client(crawl(host_interval_s=0.05)))
        await asyncio.gather(*(ask(gate, "http://example.org/a") for _ in range(4)))

    asyncio.run(run())
    assert most == 1
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(starts))


def test_one_host_does_not_wait_for_another(crawl: Make) -> None:
    async def run() -> None:
        gate = Gate(Client(crawl(host_interval_s=3_600.0)))
        async with gate.turn("http://a.example/"), gate.turn("http://b.example/"):
            pass

    asyncio.run(asyncio.wait_for(run(), 10))


def test_a_host_that_asks_for_silence_gets_it(crawl: Make) -> None:
    async def run() -> float:
        gate, start = Gate(Client(crawl())), time.monotonic()
        gate.pause("http://127.0.0.1/a", 0.1)
        async with gate.turn("http://127.0.0.1/b"):
            return time.monotonic() - start

    assert asyncio.run(run()) >= 0.1


def test_a_crawl_delay_slows_the_crawler_down(site: Any, crawl: Make) -> None:
    site.serve("/robots.txt", b"User-agent: *\nCrawl-delay: 0.1\n")

    async def run() -> float:
        async with Client(crawl()) as client:
            gate = Gate(client)
            await Robots(client, gate).check(site.url("/a"))
            async with gate.turn(site.url("/a")):
                pass
            start = time.monotonic()
            async with gate.turn(site.url("/a")):
                return time.monotonic() - start

    assert asyncio.run(run()) >= 0.1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(httpx.Response(503, headers=headers)) == seconds
