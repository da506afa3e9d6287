"""Poisonous items cost their budget and only themselves."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avctl.curate.pool import Budget, Fault, Pool
from avctl.job import MachineError

BUDGET = Budget(seconds=1.0, memory_mb=300)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spawned workers find this module by its name, however pytest was started."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


def digest(shard: list[str], done: list[str | Fault]) -> Iterator[str]:
    """An item is what it does; a good one comes back in capitals."""
    for item in shard[len(done) :]:
        match item:
            case "hang":  # holds the interpreter lock, as a decoder may
                ctypes.PyDLL(None).sleep(60)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "eat":
                bytearray(2_000_000_000)
            case "leave":
                os._exit(3)
            case "raise":
                raise KeyError("x")
            case "full":
                raise OSError(28, "No space left on device")
            case "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGUSR2)
        yield item.upper()


class CannotStart:
    """Breaks the worker while it is being unpickled."""

    def __call__(self, shard: list[str], done: list[str | Fault]) -> Iterator[str]:
        yield from ()

    def __reduce__(self) -> tuple:
        return os._exit, (9,)


def outcomes(shards: list[list[str]], workers: int = 1) -> dict[str, list[str]]:
    """Results by shard; a fault is named by its reason."""
    pool: Pool[list[str], str] = Pool(digest, workers, BUDGET)
    found = [item for item in pool.run(shards) if item]
    return {
        " ".join(shard): [result.reason if isinstance(result, Fault) else result for result in results]
        for shard, results in found
    }


@pytest.mark.parametrize(
    ("poison", "reason"),
    [("hang", "timeout"), ("crash", "crash"), ("eat", "memory"), ("leave", "crash"), ("raise", "error")],
)
def test_a_poisonous_item_costs_only_itself(poison: str, reason: str) -> None:
    assert outcomes([["a", poison, "b"], ["c"]]) == {f"a {poison} b": ["A", reason, "B"], "c": ["C"]}


def test_poison_at_both_ends_of_a_shard_is_contained() -> None:
    assert outcomes([["crash", "crash", "a", "leave"]]) == {"crash crash a leave": ["crash", "crash", "A", "crash"]}


def test_many_workers_finish_every_shard_once() -> None:
    shards = [[f"{i}a", "raise", f"{i}b"] for i in range(7)]
    assert outcomes(shards, workers=2) == {
        " ".join(shard): [shard[0].upper(), "error", shard[2].upper()] for shard in shards
    }


def test_results_are_counted_as_they_come() -> None:
    pool: Pool[list[str], str] = Pool(digest, 1, BUDGET)
    assert len([item for item in pool.run([["a", "raise", "b"], ["c"]]) if item]) == 2
    assert pool.num_results == 4


def test_signals_meant_for_the_parent_do_not_end_a_worker() -> None:
    assert outcomes([["interrupt", "a"]]) == {"interrupt a": ["INTERRUPT", "A"]}


def test_a_full_disk_fails_the_stage_and_blames_no_item() -> None:
    with pytest.raises(OSError, match="No space left"):
        outcomes([["a", "full", "b"]])


def test_a_worker_that_cannot_start_is_the_fault_of_the_machine() -> None:
    with pytest.raises(MachineError, match="cannot start"):
        list(Pool(CannotStart(), 1, BUDGET).run([["a"]]))


def test_leaving_early_ends_the_workers() -> None:
    running = Pool(_report_and_wait, 1, Budget(60.0, 300)).run([["a"], ["b"]])
    shard_and_results = next(item for item in running if item)
    pid = int(str(shard_and_results[1][0]))
    running.close()
    assert not Path(f"/proc/{pid}").exists()


def _report_and_wait(shard: list[str], done: list[str | Fault]) -> Iterator[str]:
    if shard == ["b"]:
        time.sleep(60)
    yield str(os.getpid())
