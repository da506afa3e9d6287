"""The runtime section is obeyed or refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from avctl.errors import MachineError
from avctl.schema import Runtime
from avctl.training.device import prepare


def test_threads_and_determinism_are_set() -> None:
    assert prepare(Runtime(device="cpu", threads=1)) == torch.device("cpu")
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


PAGES = """
import resource, torch
from avctl.schema import Runtime
from avctl.training.device import prepare

def pages_asked_for(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(20 * 2**20, dtype=torch.uint8)  # 5120 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(pages_asked_for(times=20))
prepare(Runtime(device="cpu", threads=1))
print(pages_asked_for(times=20))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is tuned where glibc is")
def test_memory_that_a_step_frees_is_kept_for_the_next() -> None:
    ended = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True)
    before, after = map(int, ended.stdout.split())
    assert before >= 20 * 5120 and after < before / 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(MachineError, match="cuda"):
        prepare(Runtime(device="cuda", threads=1))
    assert prepare(Runtime(device="auto", threads=1)) == torch.device("cpu")
