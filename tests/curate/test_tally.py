from __future__ import annotations

from pathlib import Path
from typing import Any

from avctl.curate.pool import Progress
from avctl.curate.prepare import Candidate, Outcome, Source
from avctl.curate.shards import Shard
from avctl.curate.tally import SHOWN, Tally
from avctl.curate.worker import Fault

GOOD = Outcome(facts={"frames": 50, "fps": 25.0}, clips=[Candidate(0.0, {}, clip_id="x"), Candidate(1.0, {}, "blur")])
BAD = Fault("crash", "killed by SIGSEGV")


class Said:
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.shown: tuple[str, int, int | None] | None = None
        self.figures: dict[str, Any] = {}

    def progress(self, name: str, done: int, total: int | None = None, **figures: Any) -> None:
        self.shown, self.figures = (name, done, total), figures

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def log(self, **metrics: Any) -> None: ...
    def rewind(self, step: int) -> None: ...
    def note(self, text: str) -> None: ...


def shard(number: int, length: int, attempt: int = 0) -> Shard:
    sources = (Source(f"{number}/{i}", Path(), f"{number}/{i}.mp4", None, None, None) for i in range(length))
    return Shard(number, tuple(sources), attempt)


def feed(tally: Tally, shard: Shard, *results: Outcome | Fault) -> None:
    for count in range(1, len(results) + 1):
        tally.add(Progress(shard, results[:count]))


def test_files_clips_and_refusals_are_counted_and_speed_is_told():
    said = Said()
    tally = Tally(said, total=9, done=2)
    feed(tally, shard(0, 3), GOOD, BAD, Outcome(reason="empty"))
    tally.add(Progress(shard(0, 3), (GOOD, BAD, Outcome(reason="empty")), is_finished=True))
    feed(tally, shard(1, 2), GOOD)
    tally.show(num_workers=4)
    assert said.shown == ("files", 6, 9)
    assert said.figures.pop("x_real_time") > 0
    assert said.figures == {"clips": 2, "refused": 2, "workers": 4}


def test_what_a_lost_machine_had_done_is_taken_back():
    said = Said()
    tally = Tally(said, total=3, done=0)
    feed(tally, shard(0, 3), GOOD, BAD)
    feed(tally, shard(0, 3, attempt=1), GOOD)
    tally.show(num_workers=1)
    assert said.shown == ("files", 1, 3)
    assert said.figures["refused"] == 0 and said.figures["clips"] == 1


def test_the_first_refused_files_are_named_and_then_only_counted():
    said = Said()
    tally = Tally(said, total=10_000, done=0)
    bad = shard(0, 100)
    feed(tally, bad, *[BAD] * 100)
    feed(tally, bad, *[BAD] * 2)  # again elsewhere
    assert len(said.warnings) == SHOWN + 1
    assert said.warnings[0] == "refused `0/0.mp4`: crash: killed by SIGSEGV"
    assert "counted from here on" in said.warnings[-1]
    tally.show(num_workers=1)
    assert said.figures["refused"] == 2
