"""What a measurement is: values with their spread, the command that gives them, and the machine that gave them."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from avctl.artifact import manifest

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Row:
    """One figure. `values` are all that were measured: the median is told, and the smallest and largest beside it.

    What could not be measured has no values and says why.
    """

    bench: str
    what: str
    unit: str
    command: str
    values: tuple[float, ...]
    details: Mapping[str, Any] = field(default_factory=dict)  # other columns of its line
    failure: str | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @classmethod
    def too_late(cls, bench: str, what: str, unit: str, command: str) -> Row:
        """For what would have begun after its time."""
        return cls(bench, what, unit, command, (), failure="no time was left")

    def to_json(self, record: dict[str, Any]) -> str:
        """A line of the results, with the record of the machine."""
        own = asdict(self)
        own |= own.pop("details")
        return json.dumps({**own, **self.spread(), **record}, sort_keys=True)

    def spread(self) -> dict[str, float]:
        """The median, the quartiles, the smallest and the largest value, and how many there are."""
        if not self.values:
            return {"runs": 0}
        low, high = min(self.values), max(self.values)
        quartiles = statistics.quantiles(self.values, method="inclusive") if len(self.values) > 1 else [low, low, low]
        ends = {"quarter": quartiles[0], "three_quarters": quartiles[2]}
        return {"median": self.median, **ends, "low": low, "high": high, "runs": len(self.values)}


class Timings:
    """How long named blocks of this process took, a value each time: for what alternates with its peers."""

    def __init__(self, bench: str, command: str):
        self._bench, self._command = bench, command
        self._values: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._left_out = (0.0, 0.0)

    @contextmanager
    def __call__(self, what: str, count: int = 1) -> Iterator[None]:
        """The block does `count` things of this kind; its time is divided by that."""
        self._left_out, start = (0.0, 0.0), _now()
        yield
        wall, processor = (end - begin - out for end, begin, out in zip(_now(), start, self._left_out, strict=True))
        self._values[what].append((wall / count, processor / count))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside, within a block, is not counted."""
        start = _now()
        yield
        spent = [end - begin for end, begin in zip(_now(), start, strict=True)]
        self._left_out = (self._left_out[0] + spent[0], self._left_out[1] + spent[1])

    def items(self) -> Iterator[tuple[str, tuple[float, ...], tuple[float, ...]]]:
        """What was done, and seconds of wall and of processor."""
        for what, values in self._values.items():
            walls, processor = zip(*values, strict=True)
            yield what, walls, processor

    def rows(self) -> Iterator[Row]:
        for what, walls, processor in self.items():
            yield Row(self._bench, what, "ms of processor", self._command, tuple(1e3 * s for s in processor))
            yield Row(self._bench, what, "ms", self._command, tuple(1e3 * s for s in walls))


def failure(error: BaseException) -> str:
    """What it is and the first line of what it says: columns have one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _now() -> tuple[float, float]:
    """Seconds of wall, and of processor in all threads of this process."""
    return time.perf_counter(), time.process_time()


def record() -> dict[str, Any]:
    """Where and of what the figures are: figures with different records are not compared."""
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
    before, start = children_s(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start, children_s() - before


def children_s() -> float:
    """Seconds of processor that all finished children took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def megabytes(pid: int | str, field: str = "VmRSS") -> float:
    """What a process holds in memory now, or another field of its status (`proc(5)`)."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = re.findall(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(kilobytes) / 1024


def _processor() -> str:
    """The name that Linux gives it; elsewhere what Python knows."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
