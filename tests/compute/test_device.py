"""The runtime section is obeyed or refused."""

from __future__ import annotations

import pytest
import torch

from avctl.compute.device import prepare
from avctl.errors import MachineError
from avctl.schema import Runtime


def test_threads_and_determinism_are_set() -> None:
    assert prepare(Runtime(device="cpu", threads=1)) == torch.device("cpu")
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(MachineError, match="cuda"):
        prepare(Runtime(device="cuda", threads=1))
    assert prepare(Runtime(device="auto", threads=1)) == torch.device("cpu")
