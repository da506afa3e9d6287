"""One place says what runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from avctl.kernels.dispatch import exported, is_exported, operator, runs_triton


def test_kernels_run_where_all_tensors_are_on_a_gpu() -> None:
    here = torch.zeros(1)
    there: Any = SimpleNamespace(is_cuda=True, dtype=torch.float32)
    exact: Any = SimpleNamespace(is_cuda=True, dtype=torch.float64)
    assert runs_triton(there, there) and not runs_triton()
    assert not runs_triton(there, here) and not runs_triton(here) and not runs_triton(there, exact)


def test_an_operator_has_the_schema_of_its_function_and_runs_it() -> None:
    @operator("avctl_test::doubled", mutates_args=("x",))
    def doubled(x: Tensor, times: list[float]) -> None:
        x.mul_(times[0])

    x = torch.ones(3)
    doubled(x, [2.0])
    assert x.tolist() == [2.0, 2.0, 2.0]
    assert str(doubled._opoverload._schema) == "avctl_test::doubled(Tensor(a0!) x, float[] times) -> ()"


def test_a_program_is_told_from_one_that_is_compiled() -> None:
    class Which(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1 if is_exported() else x - 1

    x = torch.zeros(2)
    assert Which()(x).tolist() == torch.compile(Which(), fullgraph=True, backend="eager")(x).tolist() == [-1, -1]
    with exported():
        assert torch.export.export(Which(), (x,)).module()(x).tolist() == [1, 1]
