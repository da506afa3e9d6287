"""Where clips come from, and how politely and safely they are fetched."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from avctl.recipe.spec import PathField, Spec
from avctl.schema.clip import require_aac_rate


class Directory(Spec):
    """Every media file below a folder. A `clip.txt` beside `clip.mp4` is its caption."""

    kind: Literal["directory"] = "directory"
    path: PathField


class Manifest(Spec):
    """A CSV, TSV, JSONL or Parquet table with a column `url` or `path` (relative to the table), and optionally
    `caption`, `licence`, `split` and `truth` (JSON)."""

    kind: Literal["manifest"] = "manifest"
    path: PathField


class Web(Spec):
    """URLs of media files, or of HTML pages whose links to media are followed (one hop)."""

    kind: Literal["web"] = "web"
    urls: tuple[str, ...] = Field(min_length=1)


class Synthetic(Spec):
    """Clips of a small world whose physics gives sound and picture from the same events.

    They are rendered to mp4 and served over loopback HTTP, so that the real fetch path runs.
    """

    kind: Literal["synthetic"] = "synthetic"
    count: int = Field(gt=0)
    first: int = Field(default=0, ge=0)  # index of the first clip: ranges that do not overlap share no clip
    seed: int = 0
    seconds: float = Field(default=2.0, gt=0)
    size: tuple[int, int] = (64, 64)
    fps: int = Field(default=16, gt=0)
    sample_rate: int = Field(default=16_000, gt=0)
    unseen: int = Field(default=0, ge=0, le=27)  # (colour, shape, family) triples kept for the split `unseen`

    @model_validator(mode="after")
    def _can_be_encoded(self) -> Synthetic:
        if any(side % 2 or side < 8 for side in self.size):
            raise ValueError(f"`size`: {self.size} pixels; H.264 needs an even height and width, of 8 or more")
        require_aac_rate(self.sample_rate)
        return self


Source = Annotated[Directory | Manifest | Web | Synthetic, Field(discriminator="kind")]


class Crawl(Spec):
    """Earlier sources win: of two items with one URL, or two files with the same bytes, the first is kept."""

    sources: tuple[Source, ...] = Field(min_length=1)
    max_files: int | None = Field(default=None, gt=0)  # the first ones in the order of the sources
    exclude: tuple[str, ...] = ()  # hosts (with their subdomains) or URL prefixes never fetched
    licences: tuple[str, ...] | None = None  # when given, only items that name one of these
    user_agent: str = Field(default="avctl/0.1 (research crawler)", pattern=r"^[!-.0-~]+(/[ -~]*)?$")
    allow_private: tuple[str, ...] = ()  # hosts at private addresses that may be fetched, e.g. "127.0.0.1"
    host_interval_s: float = Field(default=1.0, ge=0)  # between two requests to one host
    private_interval_s: float = Field(default=0.0, ge=0)  # the same for hosts in `allow_private`
    max_bytes: int = Field(default=2_000_000_000, gt=0)  # of one file
    max_seconds: float = Field(default=3_600.0, gt=0)  # for one file
    min_bytes_per_s: float = Field(default=1_000.0, ge=0)  # slower, over `speed_window_s`, is given up
    speed_window_s: float = Field(default=10.0, gt=0)
    attempts: int = Field(default=3, gt=0)  # failed tries of one item that make a dead letter
    backoff_s: float = Field(default=1.0, ge=0)  # before the second try; four times as long before each next one

    @model_validator(mode="after")
    def _excludes(self) -> Crawl:
        for entry in self.exclude:
            if "://" in entry and not re.match(r"https?://[^/?#\s]|file:///", entry, re.IGNORECASE):
                raise ValueError(f'`exclude`: "{entry}" is no URL of http, https or a file')
            if "://" not in entry and (not entry or re.search(r"[/:?#\s]", entry)):
                raise ValueError(
                    f'`exclude`: "{entry}" is neither a host nor a URL; "example.org", "https://example.org/a"'
                )
        return self

    @model_validator(mode="after")
    def _loopback(self) -> Crawl:
        if any(isinstance(source, Synthetic) for source in self.sources) and "127.0.0.1" not in self.allow_private:
            raise ValueError('`allow_private`: synthetic clips are served at "127.0.0.1", which must be allowed here')
        return self
