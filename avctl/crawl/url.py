"""URLs as the crawler compares them: one spelling for what a server would call the same thing."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import httpx

from avctl.crawl.outcome import FetchFailure

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")  # RFC 3986, 2.3
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")


def canonical(url: str) -> str:
    """The normal form of RFC 3986, 6.2.2-3, without fragment: scheme and host in lower case, no default port, no dot
    segments, escapes in upper case and only where needed. Raises `FetchFailure` unless it is plain http or https."""
    scheme, colon, rest = url.strip().partition(":")
    try:
        parsed = httpx.URL(f"{scheme.lower()}{colon}{rest}")
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchFailure("bad_url", str(error)) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise FetchFailure("bad_url", f"`{parsed.scheme or url}` is not http or https")
    if parsed.userinfo:
        raise FetchFailure("bad_url", "it names a user or a password")
    name, port = parsed.raw_host.decode("ascii").rstrip("."), parsed.port
    if not name or not (port is None or 0 < port < 65_536):
        raise FetchFailure("bad_url", "it names no host or port that could exist")
    netloc = (f"[{name}]" if ":" in name else name) + ("" if port is None else f":{port}")
    return _ESCAPE.sub(_unescape, f"{parsed.scheme}://{netloc}{parsed.raw_path.decode('ascii')}")


def host(url: str) -> str:
    """Who is asked for this URL: host and port of http, the scheme of what is served here, "" for a local file."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return ""
    return parts.netloc if parts.scheme in ("http", "https") else parts.scheme


def file_url(path: Path) -> str:
    """The `file:` URL of a path; any bytes in its name survive the way there and back."""
    return path.absolute().as_uri()


def local_path(url: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(url).path)))


def is_below(url: str, prefix: str) -> bool:
    """Whether `url`, canonical, is at the host `prefix` or one of its subdomains, or starts with the URL `prefix`."""
    if "://" in prefix:
        return url.startswith(prefix if prefix.startswith("file:") else canonical(prefix))
    name = (urlsplit(url).hostname or "").lower()
    return name == prefix.lower() or name.endswith(f".{prefix.lower()}")


def _unescape(match: re.Match[str]) -> str:
    char = chr(int(match[1], 16))
    return char if char in _UNRESERVED else match[0].upper()
