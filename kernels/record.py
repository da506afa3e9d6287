"""What operations launch, told by the operations themselves: their kernels are replaced by what takes notes.

Nothing is computed, so inputs may be as large as on a GPU: memory that nobody writes to is not there. A launch is
specialised as Triton's JIT does, by its own code: pointers and integers that 16 divides, integers that are 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import make_backend
from triton.runtime.jit import JITFunction, KernelInterface, create_function_from_signature

from avctl.kernels.cases import ROWS, WIDTH, Case, Draw, Pass

BACKEND = make_backend(GPUTarget("cuda", 90, 32))  # the specialisation is the same for all of NVIDIA's


class Launch(NamedTuple):
    """What Triton compiles a kernel for, and how often it runs."""

    kernel: JITFunction
    grid: tuple[int, ...]
    signature: Mapping[str, str]  # type of every parameter
    constants: Mapping[tuple[int, ...], Any]  # by the place of the parameter
    attributes: Mapping[tuple[int, ...], Any]
    options: Mapping[str, Any]  # num_warps and others

    @property
    def name(self) -> str:
        """Module and function, as in `norm_modulate._forward`."""
        return f"{self.kernel.__module__.rpartition('.')[2]}.{self.kernel.__name__}"


class Blank(Draw):
    """Numbers that are never looked at."""

    def normal(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.empty(shape, dtype=dtype or self.dtype, device=self.device)


class Recorder(KernelInterface):
    """Stands for a kernel, and writes down its launches."""

    def __init__(self, kernel: JITFunction, launches: list[Launch]):
        self._kernel, self._launches = kernel, launches
        self._bind = create_function_from_signature(kernel.signature, kernel.params, BACKEND)

    def run(self, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        bound, specialization, _ = self._bind(*args, **kwargs)
        options, signature, constants, attributes = self._kernel._pack_args(
            BACKEND, kwargs, bound, specialization, kwargs
        )
        chosen = {name: getattr(options, name) for name in {"num_warps", "num_stages", *(kwargs.keys() - bound.keys())}}
        places = tuple(grid(bound) if callable(grid) else grid)
        self._launches.append(Launch(self._kernel, places, signature, constants, attributes, chosen))


def launches(case: Case, dtype: torch.dtype = torch.bfloat16) -> dict[Pass, list[Launch]]:
    """The launches of each pass at the size of the design, in their order."""
    made: dict[Pass, list[Launch]] = {}
    with recording() as seen:
        inputs = case.make(ROWS, WIDTH, Blank(dtype, "cpu", 0))
        is_trained = "backward" in case.passes()
        leaves = [x.requires_grad_(is_trained) for x in inputs.tensors]
        seen.clear()
        outputs = case.operation(*leaves, *inputs.rest)
        made["forward"] = seen.copy()
        if is_trained:
            outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
            torch.autograd.grad(outputs, leaves, [torch.empty_like(y) for y in outputs])
            made["backward"] = seen[len(made["forward"]) :]
    return made


@contextmanager
def recording() -> Iterator[list[Launch]]:
    """The kernels of the package are chosen everywhere and run nowhere; what has been launched so far."""
    seen: list[Launch] = []
    kept = [
        (module, name, value)
        for module in modules()
        for name, value in vars(module).items()
        if isinstance(value, JITFunction) or name == "runs_triton"
    ]
    for module, name, value in kept:
        setattr(module, name, Recorder(value, seen) if isinstance(value, JITFunction) else lambda *tensors: True)
    try:
        yield seen
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


def modules() -> list[ModuleType]:
    """The files of the package that have been imported."""
    return [module for name, module in sys.modules.items() if name.startswith("avctl.kernels.")]
