"""What a measurement is: values with their spread, the command that gives them, and the machine that gave them."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avctl.artifact import manifest

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Row:
    """One figure. `values` are all that were measured: the median is told, and the smallest and largest beside it."""

    bench: str
    what: str
    unit: str
    command: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def to_json(self, record: dict[str, Any]) -> str:
        """A line of the results, with the record of the machine."""
        spread = {"median": self.median, "low": min(self.values), "high": max(self.values), "runs": len(self.values)}
        return json.dumps({**asdict(self), **spread, **record}, sort_keys=True)


def record() -> dict[str, Any]:
    """Where and of what the figures are: two rows with different records do not belong in one table."""
    commit, is_dirty = manifest.commit()
    return {
        "time": round(time.time()),
        "commit": commit,
        "is_dirty": is_dirty,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),  # of the minute before: above zero, others were at work too
        "versions": manifest.versions(),
    }


def timed(bench: str, what: str, command: Command, *, repeats: int, warm_up: int = 1) -> Iterator[Row]:
    """Wall and processor time of a command that must succeed; the first `warm_up` runs are not counted.

    Where others are at work too, trust the processor time.
    """
    wall, processor = zip(*(_once(command) for _ in range(warm_up + repeats)), strict=True)
    yield Row(bench, what, "s", what, wall[warm_up:])
    yield Row(bench, what, "s of processor", what, processor[warm_up:])


def _once(command: Command) -> tuple[float, float]:
    before, start = _processor_s(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start, _processor_s() - before


def _processor_s() -> float:
    """Seconds that all finished children computed."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _processor() -> str:
    """The name that Linux gives it; elsewhere what Python knows."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
