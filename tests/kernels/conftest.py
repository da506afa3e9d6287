"""Kernels on a processor: Triton's interpreter runs them, program by program, with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
import triton.experimental.gluon  # imported at the first launch, when it wants to find things unchanged
import triton.language.standard
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

GUARD = 1_000  # numbers around an output; the interpreter reports no store that is out of bounds


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType], None]:
    """Has the kernels of a module run on tensors of the processor, as a GPU would run them."""

    def switch(module: ModuleType) -> None:
        for place in (module, triton.language, triton.language.standard):  # `tl.sum` is a kernel as well
            for name, function in vars(place).copy().items():
                if isinstance(function, JITFunction):
                    monkeypatch.setattr(place, name, InterpretedFunction(function.fn))
        monkeypatch.setattr(module, "runs_triton", lambda *tensors: True)

    return switch


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch):
    """What operations allocate is filled with NaN and stands between guards, which must be there at the end."""
    made: list[Tensor] = []
    empty = torch.empty

    def allocate(shape, **options) -> Tensor:
        size = torch.Size(shape).numel()
        whole = empty(size + 2 * GUARD, **options).fill_(float("nan"))
        whole[:GUARD] = whole[GUARD + size :] = 7.0
        made.append(whole)
        return whole[GUARD : GUARD + size].view(shape)

    monkeypatch.setattr(
        torch, "empty", lambda *shape, **options: allocate(shape[0] if len(shape) == 1 else shape, **options)
    )
    monkeypatch.setattr(torch, "empty_like", lambda x: allocate(x.shape, dtype=x.dtype, device=x.device))
    yield
    assert made
    assert all((whole[:GUARD] == 7).all() and (whole[-GUARD:] == 7).all() for whole in made)
