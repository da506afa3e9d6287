"""Poisonous items cost their budget and only themselves."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np
import pytest

from avctl.curate.worker import Budget, Fault, Worker, limited_files
from avctl.job import MachineError

BUDGET = Budget(seconds=1.0, memory_mb=300, output_mb=1)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spawned workers find this module by its name, however pytest was started."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


class Digest:
    """An item is what it does; a good one comes back in capitals. `folder` is where it may write."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, shard: list[str], done: list[str | Fault]) -> Generator[str, None, None]:
        for item in shard[len(done) :]:
            self.swallow(item)
            yield item.upper()

    def swallow(self, item: str) -> None:
        match item:
            case "hang":  # holds the interpreter lock, as a decoder may
                ctypes.PyDLL(None).sleep(60)
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "eat":
                bytearray(2_000_000_000)
            case "enlarge":
                cv2.resize(np.zeros((2, 2), np.uint8), (40_000, 40_000))
            case "flood":
                with limited_files(2**20):
                    (self.folder / "flood").write_bytes(bytes(2**20 + 1))
            case "leave":
                os._exit(3)
            case "exit":
                sys.exit("a library thinks that it is the program")
            case "raise":
                raise KeyError("x")
            case "full":
                raise OSError(28, "No space left on device")
            case "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGUSR2)
            case "starve":  # what the kernel does when the machine runs out of memory
                os.kill(os.getpid(), signal.SIGKILL)
            case "starve once" if not (self.folder / "starved").exists():
                (self.folder / "starved").touch()
                os.kill(os.getpid(), signal.SIGKILL)


class CannotStart:
    """Breaks the worker while it is being unpickled."""

    def __call__(self, shard: list[str], done: list[str | Fault]) -> Generator[str, None, None]:
        yield from ()

    def __reduce__(self) -> tuple:
        return os._exit, (9,)


def results(worker: Worker[list[str], str], shard: list[str]) -> list[str]:
    """What became of the items; a fault is named by its reason."""
    worker.give(shard)
    while not worker.listen():
        pass
    return [result.reason if isinstance(result, Fault) else result for result in worker.done]


@pytest.fixture
def worker(tmp_path: Path):
    worker = Worker(Digest(tmp_path), BUDGET)
    yield worker
    worker.kill()


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        ("hang", "timeout"),
        ("crash", "crash"),
        ("eat", "memory"),
        ("enlarge", "memory"),
        ("flood", "output"),
        ("leave", "crash"),
        ("exit", "crash"),
        ("raise", "error"),
        ("starve", "crash"),
    ],
)
def test_a_poisonous_item_costs_only_itself(worker: Worker[list[str], str], poison: str, reason: str) -> None:
    assert results(worker, ["a", poison, "b"]) == ["A", reason, "B"]
    assert results(worker, ["c"]) == ["C"]


def test_poison_at_both_ends_of_a_shard_is_contained(worker: Worker[list[str], str]) -> None:
    assert results(worker, ["crash", "raise", "a", "leave"]) == ["crash", "error", "A", "crash"]


def test_an_item_is_not_blamed_for_one_kill_that_came_from_outside(worker: Worker[list[str], str]) -> None:
    assert results(worker, ["a", "starve once", "b"]) == ["A", "STARVE ONCE", "B"]


def test_a_worker_that_is_killed_between_two_shards_is_replaced(worker: Worker[list[str], str]) -> None:
    assert results(worker, ["a"]) == ["A"]
    pid = worker.pid
    os.kill(pid, signal.SIGKILL)
    while is_alive(pid):
        os.sched_yield()
    assert results(worker, ["b", "c"]) == ["B", "C"]


def test_a_fault_says_what_was_too_much(worker: Worker[list[str], str]) -> None:
    results(worker, ["hang", "eat", "flood", "raise"])
    assert [fault.detail for fault in worker.done if isinstance(fault, Fault)] == [
        "took longer than 1 s",
        "needed more than 300 MB",
        "wrote more than 1 MB",
        "KeyError: 'x'",
    ]


def test_signals_meant_for_the_parent_do_not_end_a_worker(worker: Worker[list[str], str]) -> None:
    assert results(worker, ["interrupt", "a"]) == ["INTERRUPT", "A"]


def test_a_full_disk_fails_the_stage_and_blames_no_item(worker: Worker[list[str], str]) -> None:
    with pytest.raises(OSError, match="No space left"):
        results(worker, ["a", "full", "b"])


def test_a_worker_that_cannot_start_is_the_fault_of_the_machine() -> None:
    with pytest.raises(MachineError, match="cannot start"):
        results(Worker(CannotStart(), BUDGET), ["a"])


class KilledWhileItStarts:
    """Arrives in a process that is killed then, as often as there are marks to take."""

    def __init__(self, folder: Path, times: int):
        self.marks = [folder / str(number) for number in range(times)]
        for mark in self.marks:
            mark.touch()

    def __setstate__(self, state: dict[str, list[Path]]) -> None:
        left = [mark for mark in state["marks"] if mark.exists()]
        if left:
            left[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, shard: list[str], done: list[str | Fault]) -> Generator[str, None, None]:
        yield from shard[len(done) :]


def test_a_worker_may_be_killed_while_it_starts_but_not_for_ever(tmp_path: Path) -> None:
    worker = Worker(KilledWhileItStarts(tmp_path, 3), BUDGET)
    assert results(worker, ["a", "b"]) == ["a", "b"]
    worker.kill()
    with pytest.raises(MachineError, match="killed 4 times while it started"):
        results(Worker(KilledWhileItStarts(tmp_path, 4), BUDGET), ["a"])


PARENT = """
import sys, time
from pathlib import Path
from tests.curate.test_worker import Digest
from avctl.curate.worker import Budget, Worker

if __name__ == "__main__":
    worker = Worker(Digest(Path(".")), Budget(60.0, 300, 1))
    worker.give(["hang"])
    worker.connection.poll(30)
    print(worker.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")
def test_a_worker_that_hangs_ends_with_its_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[2], *sys.path)))}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20
    while is_alive(child) and time.monotonic() < deadline:
        os.sched_yield()
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    """Not gone, and not waiting for a parent who will never ask."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
