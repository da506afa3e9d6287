"""The runtime section is obeyed or refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from avctl.compute.device import prepare
from avctl.errors import MachineError
from avctl.schema import Runtime


def test_threads_and_determinism_are_set() -> None:
    assert prepare(Runtime(device="cpu", threads=1)) == torch.device("cpu")
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


PAGES = """
import resource, sys, torch
from avctl.schema import Runtime
from avctl.compute.device import prepare

if sys.argv[1:]:
    prepare(Runtime(device="cpu", threads=1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for mebibytes in range(1, 21):  # each too large for what the one before has left, unless the heap has grown
    torch.ones(mebibytes * 2**20, dtype=torch.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages_asked_for(*words: str) -> int:
    command = [sys.executable, "-c", PAGES, *words]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is tuned where glibc is")
def test_memory_that_a_step_frees_is_kept_for_the_next() -> None:
    all_pages = sum(range(1, 21)) * 256  # of 4096 bytes
    assert pages_asked_for() >= all_pages and pages_asked_for("prepared") < all_pages / 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(MachineError, match="cuda"):
        prepare(Runtime(device="cuda", threads=1))
    assert prepare(Runtime(device="auto", threads=1)) == torch.device("cpu")
