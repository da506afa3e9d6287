"""Batches come in order, errors where they are due, nothing is loaded for nobody, and no process stays behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor

from avctl.data.prefetch import positions, prefetched
from avctl.job import MachineError


def same(loaded: int) -> int:
    return loaded


def batches(load: Callable[[int], int | None], steps: range, ahead: int = 2) -> Generator[int | None, None, None]:
    return prefetched(load, lambda loaded: loaded, steps, ahead=ahead)


def test_ranks_take_turns_from_where_all_of_them_stopped() -> None:
    assert list(positions(7, 12)) == [7, 8, 9, 10, 11]
    assert [list(positions(7, 12, rank, 2)) for rank in range(2)] == [[7, 9, 11], [8, 10]]


def test_batches_come_in_order_each_loaded_once() -> None:
    loaded: list[int] = []

    def load(step: int) -> int:
        loaded.append(step)
        return 10 * step

    assert list(batches(load, range(3, 12))) == [10 * step for step in range(3, 12)]
    assert loaded == list(range(3, 12))


def test_what_is_loaded_is_finished_here() -> None:
    found = list(prefetched(str, lambda loaded: loaded + "!", range(0, 6, 2)))
    assert found == ["0!", "2!", "4!"]


def test_the_next_batches_are_loaded_while_one_is_used() -> None:
    ready = threading.Event()

    def load(step: int) -> int:
        if step == 2:
            ready.set()
        return step

    found = batches(load, range(10), ahead=2)
    assert next(found) == 0
    assert ready.wait(10)
    found.close()


def test_no_more_than_asked_for_is_loaded_ahead() -> None:
    loaded: list[int] = []
    found = batches(loaded.append, range(100), ahead=2)
    next(found)
    found.close()  # waits for what has begun
    assert len(loaded) <= 3


def test_an_error_is_raised_where_its_batch_is_due() -> None:
    def load(step: int) -> int:
        if step == 2:
            raise OSError("the disk is gone")
        return step

    found = batches(load, range(5))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)


def test_stopping_early_leaves_no_thread() -> None:
    before = threading.active_count()
    found = batches(same, range(1_000))
    assert next(found) == 0
    found.close()
    assert threading.active_count() == before


def test_no_steps_are_no_batches() -> None:
    assert list(batches(same, range(5, 5))) == []


# Spawned processes import the module of what they run, which a test is not: the files below are.
MODULE = """
import os, torch
from avctl.data.prefetch import prefetched

def load(position):
    if position == 13:
        raise OSError("the disk is gone")
    if position == 17:
        os.kill(os.getpid(), 9)
    return torch.full((64, 64), float(position)), os.getpid()

def same(loaded):
    return loaded
"""


@pytest.fixture
def loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], tuple[Tensor, int]]:
    """A function of a module that spawned processes find."""
    (tmp_path / "loads.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "loads", raising=False)
    import loads  # pyright: ignore[reportMissingImports]

    return loads.load


def ended(processes: set[int], seconds: float) -> bool:
    """Whether all of these processes, not all of them children of this one, are gone within so many seconds."""
    handles = []
    for process in processes:
        with suppress(ProcessLookupError):
            handles.append(os.pidfd_open(process))
    ready = [bool(select.select([handle], [], [], seconds)[0]) for handle in handles]
    for handle in handles:
        os.close(handle)
    return all(ready)


def test_two_processes_give_the_batches_of_one_thread_raise_its_error_and_are_gone(loads: Callable) -> None:
    expected = [sheet for sheet, _ in prefetched(loads, lambda loaded: loaded, range(6, 13))]
    found = prefetched(loads, lambda loaded: loaded, range(6, 20), workers=2)
    sheets, processes = zip(*(next(found) for _ in expected), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(sheets, expected, strict=True))
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)
    assert os.getpid() not in processes
    assert ended(set(processes), 10)


def test_a_process_that_is_killed_is_said(loads: Callable) -> None:
    found = prefetched(loads, lambda loaded: loaded, range(17, 20), workers=1)
    with pytest.raises(MachineError, match="a process that loads batches was killed"):
        next(found)


def test_a_process_that_is_killed_is_said_also_where_the_next_batch_is_asked_of_it(loads: Callable) -> None:
    before = set(threading.enumerate())
    found = prefetched(loads, lambda loaded: loaded, range(20, 40), workers=1)
    _, process = next(found)
    os.kill(process, signal.SIGKILL)
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith("ThreadPoolExecutor"):
            thread.join(10)  # the pool gave up: what is submitted now is refused
    with pytest.raises(MachineError, match="a process that loads batches was killed"):
        next(found)


SCRIPT = """
import signal
import sys
sys.path.insert(0, sys.argv[1])
from loads import load, same, prefetched

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may ignore it
    try:
        for _, process in prefetched(load, same, range(20, 10**9), workers=1):
            print(process, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise SystemExit(130)
"""


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_process_outlives_its_parent(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Neither after Ctrl-C in a terminal, which all of them get, nor when the parent is killed."""
    (tmp_path / "go.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "go.py"), str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stdout and run.stderr
        processes = {int(run.stdout.readline()) for _ in range(50)}
        if number == signal.SIGINT:
            os.killpg(run.pid, number)
        else:
            run.kill()
        rest = run.stdout.read().splitlines()  # to the end: every process has closed it
        assert run.wait() == code
        assert (rest[-1:] == ["interrupted"]) == (number == signal.SIGINT)
        assert number == signal.SIGKILL or "Traceback" not in run.stderr.read()
    assert ended(processes, 10)
