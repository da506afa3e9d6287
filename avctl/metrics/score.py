"""A score is a number with everything that it depends on, and with what chance and reality would get.

Scores with different records do not stand in one table: `comparable` refuses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import av

VERSION = 1  # of the metrics: raise it when equal clips should give other scores


@dataclass(frozen=True)
class Record:
    """How a score came about. `reader` says what found events and attributes; rates and sizes are those measured at."""

    metric: str
    reader: str
    size: tuple[int, int]
    fps: int
    sample_rate: int
    channels: int
    task: str
    tolerance_s: float | None = None
    resamples: int = 0
    seed: int = 0
    version: int = VERSION
    decoder: str = field(default_factory=lambda: f"PyAV {av.__version__}, libavcodec {_libavcodec()}")


@dataclass(frozen=True)
class Score:
    """`value` is None where no clip could be measured. `used` + `not_applicable` are all clips of the set; the `failed`
    ones, which could not be decoded, are among the used and count as wrong."""

    name: str
    value: float | None
    interval: tuple[float, float] | None  # 95 %, over clips
    unit: str
    higher_is_better: bool | None  # None: zero is best
    used: int
    failed: int
    not_applicable: int
    record: Record
    chance: float | None = None
    floors: Mapping[str, float] = field(default_factory=dict)
    ceiling: float | None = None  # the real clips
    codec_ceiling: float | None = None  # the real clips, through the codecs and back

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is not a number is null."""
        return _plain(asdict(self))


class NotComparable(ValueError):
    """Two scores were measured in different ways."""


def comparable(a: Score, b: Score) -> None:
    """Raises NotComparable, naming every difference, unless both were measured alike."""
    names = [f.name for f in fields(Record) if getattr(a.record, f.name) != getattr(b.record, f.name)]
    if names or a.name != b.name:
        parts = [f"{name} {getattr(a.record, name)!r} and {getattr(b.record, name)!r}" for name in names]
        raise NotComparable(f"`{a.name}` and `{b.name}` were measured in different ways: {', '.join(parts)}")


def _libavcodec() -> str:
    return ".".join(map(str, av.library_versions["libavcodec"]))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float():
            return round(value, 6) if math.isfinite(value) else None
        case _:
            return value
