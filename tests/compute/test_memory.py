"""Memory that is freed is there for what comes next, where the C library is asked to keep it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PAGES = """
import resource, sys, torch
from avctl.schema import Runtime

if sys.argv[1] == "training":
    from avctl.compute.device import prepare
    prepare(Runtime(device="cpu", threads=1))
elif sys.argv[1] == "preparing":
    import pickle
    from pathlib import Path
    from avctl.curate.shards import PrepareShard
    from avctl.schema import Clip, Preprocess, Shots
    work = PrepareShard(Path("."), Preprocess(shots=Shots(detector=None)), Clip(seconds=1, size=(16, 16), fps=16))
    pickle.loads(pickle.dumps(work))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for mebibytes in range(1, 21):  # each too large for what the one before has left, unless the heap has grown
    torch.ones(mebibytes * 2**20, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_asked_for(what: str) -> int:
    command = [sys.executable, "-c", PAGES, what]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is tuned where glibc is")
@pytest.mark.parametrize("what", ["training", "preparing"])
def test_memory_that_is_freed_is_kept_for_what_comes_next(what: str) -> None:
    all_pages = sum(range(1, 21)) * 256  # of 4096 bytes
    assert pages_asked_for("nothing") >= all_pages and pages_asked_for(what) < all_pages / 2
