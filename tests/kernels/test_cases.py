"""Every case: the operation is as exact as eager, and its kernels move the bytes of its floor and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder

from avctl.kernels import groups
from avctl.kernels.cases import CASES, Draw
from avctl.kernels.exact import judge

ROWS, WIDTH = 140, 48
EVERY = pytest.mark.parametrize("name", CASES)
BOUND_BY_MEMORY = pytest.mark.parametrize(  # products read their operands more than once
    "name", [name for name, case in CASES.items() if not any(work.flops for work in case.floor(1, 1, 1).values())]
)


class Moved(Counter[str]):
    """Bytes, by what was done."""

    inputs: tuple[Tensor, ...] = ()  # which some kernels know by their addresses alone


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch, interpreted: None) -> Moved:
    """Bytes that lanes which are not masked read and write of large tensors: those of half a number a row and channel
    or more. Tables and sums of tiles are smaller, once tiles are as long as on a GPU."""
    monkeypatch.setattr(groups, "PROGRAMS", 1)
    counted = Moved()
    spans: list[tuple[int, int]] = []
    launch, load, store = (
        GridExecutor.__call__, InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store
    )  # fmt: skip

    def launched(self: GridExecutor, *args: Any, **kwargs: Any) -> None:
        tensors = [x for x in (*args, *counted.inputs) if isinstance(x, Tensor) and x.numel() >= ROWS * WIDTH // 2]
        spans[:] = [(x.data_ptr(), x.data_ptr() + x.untyped_storage().nbytes()) for x in tensors]
        launch(self, *args, **kwargs)

    def count(kind: str, ptrs: Any, mask: Any) -> None:
        addresses = ptrs.data[np.broadcast_to(mask.data, ptrs.data.shape).astype(bool)]
        of_large = sum(((addresses >= begin) & (addresses < end)).sum() for begin, end in dict.fromkeys(spans))
        counted[kind] += int(of_large) * ptrs.get_element_ty().primitive_bitwidth // 8

    def loaded(self: InterpreterBuilder, ptrs: Any, mask: Any, *others: Any) -> Any:
        count("read", ptrs, mask)
        return load(self, ptrs, mask, *others)

    def stored(self: InterpreterBuilder, ptrs: Any, value: Any, mask: Any, *others: Any) -> Any:
        count("written", ptrs, mask)
        return store(self, ptrs, value, mask, *others)

    monkeypatch.setattr(GridExecutor, "__call__", launched)
    monkeypatch.setattr(InterpreterBuilder, "create_masked_load", loaded)
    monkeypatch.setattr(InterpreterBuilder, "create_masked_store", stored)
    return counted


@BOUND_BY_MEMORY
def test_kernels_move_the_bytes_of_the_floor_and_no_more(name: str, moved: Moved) -> None:
    case = CASES[name]
    floor = case.floor(ROWS, WIDTH, 2)
    inputs = case.make(ROWS, WIDTH, Draw(torch.bfloat16, "cpu", 0))
    leaves = [x.requires_grad_("backward" in floor) for x in inputs.tensors]
    moved.clear()
    moved.inputs = inputs.tensors
    outputs = case.operation(*leaves, *inputs.rest)
    assert moved.total() == floor["forward"].bytes, moved
    if "backward" in floor:
        moved.clear()
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        torch.autograd.grad(outputs, leaves, [torch.randn_like(y) for y in outputs])
        assert moved.total() == floor["backward"].bytes, moved


@EVERY
def test_it_is_the_reference(name: str, interpreted: None, guarded: None) -> None:
    assert_exact(name, "cpu", torch.float32, ROWS, WIDTH)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU answers")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "width"), [(1, 64), (257, 160), (4_096, 2_048), (2_048, 6_144)])
@EVERY
def test_it_is_the_reference_on_a_gpu(name: str, rows: int, width: int, dtype: torch.dtype) -> None:
    assert_exact(name, "cuda", dtype, rows, width)


def assert_exact(name: str, device: str, dtype: torch.dtype, rows: int, width: int) -> None:
    case = CASES[name]
    inputs = case.make(rows, width, Draw(dtype, device, 0))
    operation, reference = (_given(function, inputs.rest) for function in (case.operation, case.reference))
    errors = judge(operation, reference, inputs.tensors, is_trained="backward" in case.passes())
    assert errors.are_allowed, errors


def _given(function: Callable[..., Any], rest: tuple) -> Callable[..., Any]:
    return lambda *tensors: function(*tensors, *rest)
