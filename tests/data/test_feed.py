"""What is on its way to the device arrives whole; on a CPU nothing is copied."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from avctl.data.feed import on_device, over_tensors, pinned


class Pair(NamedTuple):
    x: Tensor
    name: str


def batches(count: int) -> list[tuple[Pair, Tensor]]:
    return [(Pair(torch.full((300, 300), float(i)), str(i)), torch.tensor([i])) for i in range(count)]


def test_every_tensor_is_reached_and_nothing_else() -> None:
    (pair, more), *_ = batches(1)
    doubled = over_tensors((Pair(pair.x + 1, "a"), (more, 5)), lambda x: 2 * x)
    assert isinstance(doubled[0], Pair) and doubled[0].name == "a" and doubled[1][1] == 5
    assert (doubled[0].x == 2).all() and doubled[1][0] == 0


def test_on_a_cpu_batches_are_passed_on() -> None:
    cpu, made = torch.device("cpu"), batches(3)
    assert all(a is b for a, b in zip(on_device(iter(made), cpu), made, strict=True))
    assert pinned(made[0], cpu) is made[0]


@pytest.mark.gpu
@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_on_a_gpu_batches_arrive_whole_while_it_computes(count: int) -> None:
    cuda = torch.device("cuda")
    found = []
    for (pair, number), (original, _) in zip(
        on_device((pinned(batch, cuda) for batch in batches(count)), cuda), batches(count), strict=True
    ):
        work = torch.randn(2_000, 2_000, device=cuda)
        for _ in range(5):
            work = work @ work / 100  # the copy of the next batch runs beside it
        assert pair.x.device.type == number.device.type == "cuda" and pair.name == original.name
        found.append(pair.x.sum() + 0 * work.sum().nan_to_num())
    assert [float(x) for x in found] == [90_000.0 * i for i in range(count)]
