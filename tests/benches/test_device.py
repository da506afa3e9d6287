"""What a figure is of: the device's names, and as many threads as there are when it is asked."""

from __future__ import annotations

import torch

from avctl.compute.threads import one_thread
from benches.device import Device, identity

HERE = Device(torch.device("cpu"), torch.float32, 2**20)


def test_threads_are_those_of_now() -> None:
    with one_thread():
        assert identity(HERE)["threads"] == 1
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert identity(HERE)["threads"] == 3
    finally:
        torch.set_num_threads(before)


def test_packages_have_their_versions() -> None:
    assert identity(HERE)["packages"]["torch"] == torch.__version__.partition("+")[0]
