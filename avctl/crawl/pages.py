"""HTML pages: which media do they link to?"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

from avctl.crawl.outcome import FetchFailure
from avctl.crawl.url import canonical

# Without .ts and .mts, which more often name TypeScript.
_VIDEO = (".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg")
_VIDEO += (".mxf", ".ogv", ".vob", ".webm", ".wmv")
_AUDIO = (".aac", ".aif", ".aiff", ".caf", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma", ".wv")
_SUFFIXES = _VIDEO + _AUDIO


def names_media(name: str) -> bool:
    """Whether a file name ends as those of media do: a hint where to look, never a proof of what is there."""
    return name.lower().endswith(_SUFFIXES)


def media_links(html: str, url: str) -> tuple[str, ...]:
    """Canonical URLs of what `<video>`, `<audio>` and `<source>` play and of links that name media, each once."""
    parser = _Links(url)
    parser.feed(html)
    parser.close()
    return tuple(parser.found)


class _Links(HTMLParser):
    def __init__(self, url: str):
        super().__init__()
        self.origin, self.found = url, dict[str, None]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        match tag:
            case "base" if "href" in values:
                self.origin = urljoin(self.origin, values["href"])
            case "a" if "href" in values and names_media(re.split("[?#]", values["href"].strip())[0]):
                self._add(values["href"])
            case "video" | "audio" | "source" if "src" in values:
                self._add(values["src"])

    def _add(self, link: str) -> None:
        try:
            self.found[canonical(urljoin(self.origin, link.strip()))] = None
        except (FetchFailure, ValueError):
            return  # a link that is no http URL leads nowhere: blob:, data:, javascript:
