"""What the device can do at most, measured in the same process before anything else: a copy and a matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benches.clock import measure
from benches.device import Device, identity, state
from benches.frame import Row

RUNS = 10
BUFFERS = 4  # that copies go round
BYTES = {"cuda": 2**28, "cpu": 2**26}  # of a buffer, at least
SIDE = {"cuda": 8_192, "cpu": 1_536}  # of the square matrices


def rows(device: Device, command: str) -> Iterator[Row]:
    """Bytes read and written, and operations of products of random matrices, a second: those of a command's run."""
    about = identity(device) | state(device) | {"dtype": str(device.dtype).removeprefix("torch.")}
    yield Row("ceilings", "copy", "GB/s", command, _copies(device), about)
    yield Row("ceilings", "matmul", "TFLOP/s", command, _products(device), about)


def _copies(device: Device) -> tuple[float, ...]:
    """From buffer to buffer, each of them larger than the cache."""
    size = max(2 * device.cache, BYTES[device.torch.type])
    buffers = torch.randint(256, (BUFFERS, size), dtype=torch.uint8, device=device.torch)

    def lap() -> None:
        for place in range(BUFFERS):
            buffers[place].copy_(buffers[place - 1])

    return tuple(2e-9 * size / measure(lap, BUFFERS, device).seconds for _ in range(RUNS))


def _products(device: Device) -> tuple[float, ...]:
    side = SIDE[device.torch.type]
    a, b = torch.randn(2, side, side, device=device.torch).to(device.dtype)
    lap = partial(torch.matmul, a, b)
    return tuple(2e-12 * side**3 / measure(lap, 1, device).seconds for _ in range(RUNS))
