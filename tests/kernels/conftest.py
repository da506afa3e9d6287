"""Kernels on a processor: Triton's interpreter runs them, program by program, with NumPy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import triton.experimental.gluon  # imported at the first launch, when it wants to find things unchanged
import triton.language.standard
from torch import Tensor
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder, TensorHandle, _patch_lang
from triton.runtime.jit import JITFunction

from avctl.kernels import groups
from avctl.kernels.dispatch import runs_triton
from avctl.kernels.exact import Function, judge, with_gradients

Judge = Callable[[Function, Function, Sequence[Tensor]], None]
PATCH_TENSOR = interpreter._patch_lang_tensor
GUARD = 4_000  # numbers around an output; the interpreter reports no store that is out of bounds


@pytest.fixture(params=[False, True], ids=["without AMX", "with AMX"])
def amx(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor says that it has tiles of bfloat16."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: request.param)
    return request.param


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels run on tensors of the processor, as a GPU would run them, in few programs: each takes as long as another,
    however much it does."""
    monkeypatch.setattr(groups, "PROGRAMS", 4)
    monkeypatch.setattr(interpreter, "_patch_lang_tensor", _patch_tensor)
    monkeypatch.setattr(InterpreterBuilder, "create_fp_trunc", _round)
    language = _patch_lang(triton.language.standard.sum.fn), _patch_lang(runs_triton)  # `tl.core`, and `tl` in ours
    ours = [module for name, module in sys.modules.items() if name.startswith("avctl.kernels.")]
    for place in (*ours, triton.language, triton.language.standard):  # `tl.sum` is a kernel
        for name, function in vars(place).copy().items():
            if isinstance(function, JITFunction):
                monkeypatch.setattr(place, name, InterpretedFunction(function.fn))
    for place in ours:
        if hasattr(place, "runs_triton"):
            monkeypatch.setattr(place, "runs_triton", lambda *tensors: True)
    yield
    for scope in reversed(language):
        scope.restore()  # a kernel that calls another one leaves the interpreter's language behind


def _patch_tensor(tensor: type, scope: Any) -> None:
    """As Triton does, for NumPy 2.4 as well: an array of one number is no integer, and `range` wants integers."""
    PATCH_TENSOR(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())


def _round(self: InterpreterBuilder, x: TensorHandle, dtype: Any) -> TensorHandle:
    """To the nearest, as a GPU does; Triton's interpreter cuts bits off that bfloat16 has not."""
    if (x.dtype.scalar, dtype.scalar) != (triton.language.float32, triton.language.bfloat16):
        return self.cast_impl(x, dtype)
    rounded = torch.from_numpy(np.array(x.data)).bfloat16().view(torch.uint16)
    return TensorHandle(rounded.numpy(), dtype.scalar)


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What operations allocate is filled with NaN and stands between guards, which must be there at the end."""
    made: list[Tensor] = []
    empty = torch.empty

    def allocate(*shape, **options) -> Tensor:
        if "requires_grad" in options:  # by `torch.utils.checkpoint`, of nothing
            return empty(*shape, **options)
        size = torch.Size(shape[0] if not isinstance(shape[0], int) else shape)
        whole = empty(size.numel() + 2 * GUARD, **options).fill_(float("nan"))
        whole[:GUARD] = whole[GUARD + size.numel() :] = 7.0
        made.append(whole)
        return whole[GUARD : GUARD + size.numel()].view(size)

    monkeypatch.setattr(torch, "empty", allocate)
    yield
    assert made
    assert all((whole[:GUARD] == 7).all() and (whole[-GUARD:] == 7).all() for whole in made)


@pytest.fixture
def as_exact_as_eager() -> Judge:
    """Fails unless an operation, forward and in every gradient, is at most twice as far from its reference in float64
    as the reference in the format of the inputs is."""
    return _judge


@pytest.fixture
def compiles_whole() -> Callable[[Function, Sequence[Tensor]], None]:
    """Fails unless `torch.compile` takes an operation without a break in its graph, forward and backward, and gives
    the same."""

    def check(operation: Function, inputs: Sequence[Tensor]) -> None:
        compiled = torch.compile(operation, fullgraph=True, backend="aot_eager")
        pairs = zip(with_gradients(compiled, inputs), with_gradients(operation, inputs), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)

    return check


@pytest.fixture
def reads_rows_apart() -> Callable[[Function, Sequence[Tensor]], None]:
    """Fails unless an operation gives the same, forward and backward, where other rows lie between those of its inputs
    and between those of the gradients that come to it."""

    def check(operation: Function, inputs: Sequence[Tensor]) -> None:
        together, apart = (_through(operation, [place(x) for x in inputs], place) for place in (_same, _apart))
        assert all(torch.equal(a, b) for a, b in zip(together, apart, strict=True))

    return check


def _through(operation: Function, inputs: Sequence[Tensor], place: Callable[[Tensor], Tensor]) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    outputs = operation(*leaves)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    upstream = [place(torch.linspace(-1, 1, y.numel()).view_as(y).to(y.dtype)) for y in outputs]
    return [*(y.detach() for y in outputs), *torch.autograd.grad(outputs, leaves, upstream)]


def _same(x: Tensor) -> Tensor:
    return x


def _apart(x: Tensor) -> Tensor:
    return torch.stack([x, x + 1], 1)[:, 0]


def _judge(operation: Function, reference: Function, inputs: Sequence[Tensor]) -> None:
    errors = judge(operation, reference, inputs)
    assert errors.are_allowed, errors
