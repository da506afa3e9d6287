"""Where clips come from, and how politely and safely they are fetched."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from avctl.recipe.spec import PathField, Spec


class Directory(Spec):
    """Every media file below a folder. A `clip.txt` beside `clip.mp4` is its caption."""

    kind: Literal["directory"] = "directory"
    path: PathField


class Manifest(Spec):
    """A CSV, JSONL or Parquet table with a column `url` or `path`, and optionally `caption`, `licence`, `split`."""

    kind: Literal["manifest"] = "manifest"
    path: PathField


class Web(Spec):
    """URLs of media files, or of HTML pages whose links to media are followed (one hop)."""

    kind: Literal["web"] = "web"
    urls: tuple[str, ...]


class Synthetic(Spec):
    """Clips of a small world whose physics gives sound and picture from the same events.

    They are rendered to mp4 and served over loopback HTTP, so that the real fetch path runs.
    """

    kind: Literal["synthetic"] = "synthetic"
    count: int = Field(gt=0)
    first: int = Field(default=0, ge=0)  # index of the first clip: ranges that do not overlap share no clip
    seed: int = 0
    seconds: float = 2.0
    size: tuple[int, int] = (64, 64)
    fps: int = 16
    sample_rate: int = 16_000
    unseen: int = Field(default=0, ge=0, le=27)  # (colour, shape, family) triples kept for the split `unseen`


Source = Annotated[Directory | Manifest | Web | Synthetic, Field(discriminator="kind")]


class Crawl(Spec):
    sources: tuple[Source, ...] = Field(min_length=1)
    max_files: int | None = Field(default=None, gt=0)
    exclude: tuple[str, ...] = ()  # hosts or URL prefixes never fetched
    licences: tuple[str, ...] | None = None  # when given, only items that name one of these
    user_agent: str = "avctl/0.1 (research crawler)"
    allow_private: tuple[str, ...] = ()  # hosts at private addresses that may be fetched, e.g. "127.0.0.1"
    host_interval_s: float = Field(default=1.0, ge=0)  # between two requests to one host
    max_bytes: int = Field(default=2_000_000_000, gt=0)  # of one file
    max_seconds: float = Field(default=3_600.0, gt=0)  # for one file
    min_bytes_per_s: float = Field(default=1_000.0, ge=0)  # slower, over ten seconds, is given up
    attempts: int = Field(default=3, gt=0)  # claims of one item before it is a dead letter
