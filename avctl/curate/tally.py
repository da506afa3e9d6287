"""How far preprocess is, for those who watch: counts, speed, and the first refused files by name."""

from __future__ import annotations

import time
from collections import Counter

from avctl.curate.pool import Progress
from avctl.curate.prepare import Outcome
from avctl.curate.shards import Shard
from avctl.curate.worker import Fault
from avctl.job import Reporter

SHOWN = 5  # refused files that are named as they occur


class Tally:
    """Of `total` files, `done` were prepared by an earlier run."""

    def __init__(self, report: Reporter, total: int, done: int):
        self._report, self._total, self._done = report, total, done
        self._start = time.monotonic()
        self._counts: Counter[str] = Counter()
        self._open: dict[int, Counter[str]] = {}  # by number: of shards that are not finished
        self._named: set[str] = set()

    def add(self, step: Progress[Shard, Outcome]) -> None:
        """Count what is new in a step. What a lost machine had done of a shard is taken back."""
        number = step.shard.number
        if step.is_finished:
            self._counts += self._open.pop(number)
            return
        if len(step.results) == 1:
            self._open[number] = Counter()
        source, result = step.shard[len(step.results) - 1], step.results[-1]
        self._open[number] += _counts(result)
        if result.reason is not None:
            self._name(source.name, result)

    def show(self, num_workers: int) -> None:
        """Report the files done, clips cut, files refused, and seconds of video in a second."""
        counts = sum(self._open.values(), self._counts)
        figures: dict[str, float] = {"clips": counts["clips"], "refused": counts["refused"], "workers": num_workers}
        elapsed = time.monotonic() - self._start
        if counts["milliseconds"]:
            figures["x_real_time"] = round(counts["milliseconds"] / 1000 / elapsed, 1)
        self._report.progress("files", self._done + counts["files"], self._total, **figures)

    def _name(self, name: str, result: Outcome | Fault) -> None:
        if name in self._named or len(self._named) > SHOWN:
            return
        self._named.add(name)
        if len(self._named) <= SHOWN:
            self._report.warn(f"refused `{name}`: {result.reason}: {result.detail}")
        else:
            self._report.warn(
                "more files are refused: they are counted from here on, and listed by `avctl ls --failed`"
            )


def _counts(result: Outcome | Fault) -> Counter[str]:
    if not isinstance(result, Outcome):
        return Counter(files=1, refused=1)
    refused = int(result.reason is not None)
    return Counter(files=1, clips=result.num_cut, refused=refused, milliseconds=round(1000 * _seconds(result)))


def _seconds(outcome: Outcome) -> float:
    """How long the picture lasts."""
    facts = outcome.facts
    return facts["frames"] / facts["fps"] if facts.get("fps") else 0.0
