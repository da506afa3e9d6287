from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from avctl.artifact.lock import Lock, is_locked
from avctl.errors import LockedError

HOLD = """
import os, sys, time
from pathlib import Path
from avctl.artifact.lock import Lock
lock = Lock(Path(sys.argv[1]), "it")
if "fork" in sys.argv:
    child = os.fork()
    if child == 0:
        time.sleep(600)
    print(child, flush=True)
else:
    print(os.getpid(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stage" / ".abc.lock"


def hold(path: Path, *words: str) -> tuple[subprocess.Popen[str], int]:
    """Another process that has the lock, and the pid that it printed."""
    command = [sys.executable, "-c", HOLD, str(path), *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, int(process.stdout.readline())


def test_a_second_process_is_refused_and_told_who_has_it(path: Path):
    process, pid = hold(path)
    assert is_locked(path)
    with pytest.raises(LockedError, match=f"it is being written by process {pid} on"):
        Lock(path, "it")
    process.communicate("")
    Lock(path, "it").release()


def test_the_lock_of_a_killed_process_is_taken_over_even_if_its_worker_lives(path: Path):
    process, child = hold(path, "fork")
    process.kill()
    process.wait()
    try:
        assert path.exists() and not is_locked(path)
        Lock(path, "it").release()
    finally:
        os.kill(child, signal.SIGKILL)


def test_this_process_cannot_have_it_twice(path: Path):
    lock = Lock(path, "it")
    assert is_locked(path)
    with pytest.raises(LockedError, match="by this process"):
        Lock(path, "it")
    lock.release()
    assert not path.exists() and not is_locked(path)
    Lock(path, "it").release()


def test_looking_at_a_lock_does_not_break_it(path: Path):
    process, _ = hold(path)
    for _ in range(3):
        assert is_locked(path)
    process.communicate("")
    assert not is_locked(path)


LOOK = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(file, fcntl.LOCK_SH)
print("looking", flush=True)
time.sleep(0.03)
"""


def test_one_who_looks_does_not_keep_a_writer_out(path: Path):
    path.parent.mkdir()
    with subprocess.Popen([sys.executable, "-c", LOOK, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline()
        Lock(path, "it").release()
