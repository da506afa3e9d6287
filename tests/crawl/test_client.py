import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from avctl.crawl.client import Client
from avctl.crawl.outcome import FetchFailure
from avctl.crawl.url import canonical
from avctl.schema import Crawl

PRIVATE = [
    "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001",
    "0177.0.0.1", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]", "169.254.169.254", "[fe80::1]", "[fd00::1]", "10.0.0.1", "172.16.0.1", "192.168.0.1",
    "100.64.0.1", "224.0.0.1", "[ff02::1]", "255.255.255.255", "innocent.example",
]  # fmt: skip


def get(section: Crawl, url: str) -> int:
    async def run() -> int:
        async with Client(section) as client, client.get(url) as answer:
            await answer.aread()
            return answer.status_code

    return asyncio.run(run())


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name `innocent.example` resolves to this machine."""
    resolve = socket.getaddrinfo

    def lie(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host in ("innocent.example", b"innocent.example") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lie)


@pytest.mark.parametrize("name", PRIVATE)
def test_no_spelling_of_a_private_address_is_spoken_to(
    site: Any, crawl: Callable[..., Crawl], liar: None, name: str
) -> None:
    port = site.address.rpartition(":")[2]
    with pytest.raises(FetchFailure) as caught:
        get(crawl(allow_private=()), canonical(f"http://{name}:{port}/secret"))
    assert not caught.value.is_passing
    assert caught.value.reason == ("bad_url" if name == "0177.0.0.1" else "private_address")  # httpx: no valid IPv4
    assert not site.requests


def test_an_allowed_private_host_is_allowed_by_this_name_alone(site: Any, crawl: Callable[..., Crawl]) -> None:
    site.serve("/a", b"open")
    assert get(crawl(), site.url("/a")) == 200
    for name in ("localhost", "[::ffff:127.0.0.1]", "2130706433", "127.1"):
        with pytest.raises(FetchFailure, match="private_address"):
            get(crawl(), site.url("/a").replace("127.0.0.1", name))
    assert site.asked() == ["/a"]


def test_the_outside_never_leads_to_a_private_host(crawl: Callable[..., Crawl]) -> None:
    client = Client(crawl(allow_private=("127.0.0.1", "nas.local")))
    assert client.may_lead("http://example.org/", "http://example.com/")
    assert client.may_lead("http://127.0.0.1:80/", "http://nas.local/a")
    assert client.may_lead("http://nas.local/", "http://example.org/")
    assert not client.may_lead("http://example.org/", "http://127.0.0.1:8080/a")


def test_a_closed_port_is_unreachable_for_now(crawl: Callable[..., Crawl]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(FetchFailure) as caught:
            get(crawl(), f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert (caught.value.reason, caught.value.is_passing) == ("unreachable", True)


def test_a_proxy_of_the_environment_is_not_used(
    site: Any, crawl: Callable[..., Crawl], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", site.address)
    with pytest.raises(FetchFailure):
        get(crawl(allow_private=()), "http://10.0.0.1/")
    assert not site.requests


def test_the_crawler_says_who_it_is_and_keeps_no_cookies(site: Any, crawl: Callable[..., Crawl]) -> None:
    site.serve("/a", b"", Set_Cookie="session=1")

    async def twice() -> None:
        async with Client(crawl(user_agent="avctl/9 (me@example.org)")) as client:
            for _ in range(2):
                async with client.get(site.url("/a")) as answer:
                    await answer.aread()

    asyncio.run(twice())
    for _, headers, _ in site.requests:
        assert headers["User-Agent"] == "avctl/9 (me@example.org)" and "Cookie" not in headers
