"""HTTP with a guard at connect time: no address that is not public is spoken to, however it is spelled or resolved.

Hosts that the recipe names in `allow_private` have a client of their own, which connects to these names only.
Redirects are not followed here: whoever follows one comes back, and is checked again.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address
from typing import Self
from urllib.parse import urlsplit

import httpx
from httpx_secure import SSRFProtectionError, httpx_ssrf_protection

from avctl.crawl.outcome import FetchFailure
from avctl.schema import Crawl

_TIMEOUT = httpx.Timeout(30.0, connect=20.0, pool=None)  # seconds of silence


class Client:
    """Use as an asynchronous context."""

    def __init__(self, crawl: Crawl):
        self.crawl = crawl
        certificates = ssl.create_default_context()
        self._public = httpx_ssrf_protection(_client(crawl, certificates), custom_validator=_is_unicast)
        self._private = httpx_ssrf_protection(
            _client(crawl, certificates),
            check_globally_reachable=False,
            custom_validator=lambda name, address, port: name in crawl.allow_private,
        )

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._public)
            await stack.enter_async_context(self._private)
            self._exit = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    def is_private(self, url: str) -> bool:
        """Whether the recipe allows the host of `url` although its address may be private."""
        return (urlsplit(url).hostname or "") in self.crawl.allow_private

    def may_lead(self, origin: str, url: str) -> bool:
        """Whether a redirect or link may go there: the outside never points the crawler at private hosts."""
        return self.is_private(origin) or not self.is_private(url)

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[httpx.Response]:
        """The streamed answer to one GET. What goes wrong, also while the body is read, is raised as `FetchFailure`."""
        client = self._private if self.is_private(url) else self._public
        try:
            async with client.stream("GET", url, headers=headers) as response:
                yield response
        except SSRFProtectionError as error:
            raise FetchFailure("private_address", f"`{error.hostname}` is not at a public address") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise FetchFailure("bad_url", type(error).__name__) from error
        except httpx.TimeoutException as error:
            raise FetchFailure("timeout", type(error).__name__, is_passing=True) from error
        except (httpx.ConnectError, ssl.SSLError) as error:
            raise FetchFailure("unreachable", "no connection", is_passing=True) from error
        except httpx.TransportError as error:
            raise FetchFailure("broken_off", type(error).__name__, is_passing=True) from error


def _client(crawl: Crawl, certificates: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"User-Agent": crawl.user_agent, "Accept": "*/*", "Accept-Encoding": "identity"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # none are kept: every request stands alone
        timeout=_TIMEOUT,
        verify=certificates,
        trust_env=False,  # a proxy would connect where the guard cannot see
        follow_redirects=False,
    )


def _is_unicast(name: str, address: IPv4Address | IPv6Address, port: int) -> bool:
    """Refuses what `is_global` lets pass: multicast, and private IPv4 addresses wrapped in 6to4 or Teredo."""
    if isinstance(address, IPv4Address):
        return not address.is_multicast
    inner = [address.sixtofour, *(address.teredo or ())]
    return not address.is_multicast and all(part is None or part.is_global for part in inner)
