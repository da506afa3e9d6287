"""Shards are shared out among workers, and their results come as they are made."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from avctl.curate.pool import LocalPool, Progress
from avctl.curate.worker import Budget, Fault
from avctl.job import MachineError

BUDGET = Budget(seconds=60.0, memory_mb=300, output_mb=1)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spawned workers find this module by its name, however pytest was started."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


def digest(shard: list[str], done: list[str | Fault]) -> Generator[str, None, None]:
    for item in shard[len(done) :]:
        if item == "raise":
            raise KeyError(item)
        if item == "leave":
            os._exit(3)
        yield item.upper()


def outcomes(shards: list[list[str]], workers: int = 1) -> list[tuple[str, list[str], bool]]:
    """Every step; a fault is named by its reason."""
    with LocalPool(digest, workers, BUDGET).run(shards) as steps:
        return [(" ".join(step.shard), named(step), step.is_finished) for step in steps if step]


def named(step: Progress[list[str], str]) -> list[str]:
    return [result.reason if isinstance(result, Fault) else result for result in step.results]


def test_results_are_told_as_they_come_and_a_finished_shard_once_more() -> None:
    assert outcomes([["a", "leave", "b"], ["c"]]) == [
        ("a leave b", ["A"], False),
        ("a leave b", ["A", "crash"], False),
        ("a leave b", ["A", "crash", "B"], False),
        ("a leave b", ["A", "crash", "B"], True),
        ("c", ["C"], False),
        ("c", ["C"], True),
    ]


def test_many_workers_finish_every_shard_once() -> None:
    shards = [[f"{i}a", "raise", f"{i}b"] for i in range(7)]
    finished = [(name, results) for name, results, is_finished in outcomes(shards, workers=2) if is_finished]
    assert sorted(finished) == [(" ".join(shard), [shard[0].upper(), "error", shard[2].upper()]) for shard in shards]


def test_there_are_no_more_workers_than_shards() -> None:
    pool = LocalPool(digest, 3, BUDGET)
    assert pool.num_workers == 0
    with pool.run([["a"]]) as steps:
        assert pool.num_workers == 1
        list(steps)


def test_no_shards_are_no_steps() -> None:
    assert outcomes([]) == []


def test_what_ends_a_worker_ends_the_run() -> None:
    with LocalPool(CannotStart(), 1, BUDGET).run([["a"]]) as steps, pytest.raises(MachineError, match="cannot start"):
        list(steps)


class CannotStart:
    """Breaks the worker while it is being unpickled."""

    def __call__(self, shard: list[str], done: list[str | Fault]) -> Generator[str, None, None]:
        yield from ()

    def __reduce__(self) -> tuple:
        return os._exit, (9,)


def test_leaving_early_ends_the_workers() -> None:
    with LocalPool(_report_and_wait, 1, BUDGET).run([["a"], ["b"]]) as steps:
        step = next(step for step in steps if step)
    assert not Path(f"/proc/{step.results[0]}").exists()


def _report_and_wait(shard: list[str], done: list[str | Fault]) -> Generator[str, None, None]:
    if shard == ["b"]:
        time.sleep(60)
    yield str(os.getpid())


def test_workers_are_shared_out_among_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")  # as Slurm does
    with LocalPool(_say_gpu, 3, BUDGET, num_gpus=2).run([["a"], ["b"], ["c"]]) as steps:
        seen = {step.shard[0]: step.results[0] for step in steps if step}
    assert seen == {"a": "4", "b": "7", "c": "4"}


def _say_gpu(shard: list[str], done: list[str | Fault]) -> Generator[str, None, None]:
    yield os.environ["CUDA_VISIBLE_DEVICES"]
