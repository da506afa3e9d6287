"""What operations launch, told by the operations themselves: their kernels are replaced by what takes notes.

Nothing is computed, so inputs may be as large as on a GPU: memory that nobody writes to is not there. A launch is
specialised as Triton's JIT does, by its own code: pointers and integers that 16 divides, integers that are 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler.compiler import make_backend
from triton.runtime.jit import JITFunction, KernelInterface, create_function_from_signature

from avctl.kernels.cases import ROWS, WIDTH, Case, Draw, Inputs, Pass

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


class Variant(NamedTuple):
    """Some cases, at a size or in formats that are compiled differently."""

    name: str
    cases: tuple[str, ...] = ()
    width: int = WIDTH
    change: Callable[[Inputs], Inputs] = lambda inputs: inputs


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


def _residual_in_float32(inputs: Inputs) -> Inputs:
    """As under autocast, where all else comes from products in bfloat16."""
    x, *others = inputs.tensors
    return inputs._replace(tensors=(torch.empty_like(x, dtype=torch.float32), *others))


def _weights_in_float32(inputs: Inputs) -> Inputs:
    qk, weight = inputs.tensors
    return inputs._replace(tensors=(qk, torch.empty_like(weight, dtype=torch.float32)))


def _in_place(inputs: Inputs) -> Inputs:
    """Windows of rows and columns as well."""
    (map,) = inputs.rest
    return inputs._replace(rest=(map._replace(rows=1.0, columns=1.0),))


def _heads_of(K: int) -> Callable[[Inputs], Inputs]:
    """Queries, keys and what is of their channels, cut into heads of K."""

    def cut(inputs: Inputs) -> Inputs:
        first, *others = inputs.tensors
        if first.ndim == 3:  # S N K each, of packed ones
            S, width = len(first), first[0].numel()
            return inputs._replace(tensors=first.new_empty(S, 3, width // K, K).unbind(1))
        (weight,), (streams, turns) = others, inputs.rest
        table, pairs = turns.table.new_empty(2, turns.table.shape[1], K // 2), (K // 2 - 2 * (K // 16), K // 16)
        turns = turns._replace(table=table, pairs=pairs)
        qk = first.unflatten(-1, (-1, 1)).reshape(len(first), 2, -1, K)
        return Inputs((qk, weight.new_empty(len(weight), 2, K)), (streams, turns))

    return cut


DESIGN = Variant("")
ROW_CASES = ("norm_modulate", "gate_residual", "gate_residual_norm_modulate")
HEAD_CASES = ("qk_norm_rope", "av_window_attention")
VARIANTS = (
    Variant("1024 wide", ROW_CASES, 1_024),
    Variant("3072 wide, float32 residual", ROW_CASES, 3_072, _residual_in_float32),
    Variant("6144 wide, float32 residual", ROW_CASES, 6_144, _residual_in_float32),
    Variant("float32 weights", ("qk_norm_rope",), change=_weights_in_float32),
    *(Variant(f"heads of {K}", HEAD_CASES, change=_heads_of(K)) for K in (64, 256)),
    Variant("rows and columns", ("av_window_attention",), change=_in_place),
)


def launches(case: Case, variant: Variant = DESIGN) -> dict[Pass, list[Launch]]:
    """The launches of each pass, in bfloat16 and at the size of the design where the variant says nothing else, in
    their order."""
    made: dict[Pass, list[Launch]] = {}
    with recording() as seen:
        inputs = variant.change(case.make(ROWS, variant.width, Blank(torch.bfloat16, "cpu", 0)))
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
