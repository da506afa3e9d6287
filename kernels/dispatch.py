"""Which implementation of an operation runs: decided here, once, and nowhere else.

Kernels run for tensors on a GPU where Triton is installed; its wheels are for Linux only. Everywhere else PyTorch's own
run: those of the reference, which `torch.compile` can fuse, or better ones where there are. Programs that are exported
have the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    import triton
    import triton.language as tl
else:
    try:
        import triton
        import triton.language as tl
    except ImportError:
        from types import SimpleNamespace

        triton, tl = SimpleNamespace(jit=lambda function: function), None  # so that files with kernels can be imported

__all__ = ["capability", "exported", "is_exported", "operator", "runs_triton", "tl", "triton"]


_is_exported = False


@contextmanager
def exported() -> Iterator[None]:
    """Programs that are traced inside are for others, who know no operators of ours."""
    global _is_exported
    _is_exported = True
    try:
        yield
    finally:
        _is_exported = False


def is_exported() -> bool:
    """Whether a program for others is being traced. PyTorch says so of what `torch.compile` traces as well."""
    return _is_exported


def runs_triton(*tensors: Tensor) -> bool:
    """Whether Triton's kernels run for these tensors; elsewhere the reference does."""
    if not tensors or tl is None or is_exported():
        return False
    return all(x.is_cuda and x.dtype != torch.float64 for x in tensors)  # kernels compute in float32


@cache
def capability(device: torch.device) -> int:
    """Of an NVIDIA GPU: 90 is 9.0. 0 of everything else."""
    if device.type != "cuda":
        return 0
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def operator(name: str, mutates_args: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Any]:
    """`torch.library.custom_op`, with launches on the GPU where its tensors are, whichever is the current one."""

    def register(function: Callable[..., Any]) -> Any:
        @wraps(function)
        def apply(*args: Any) -> Any:
            device = next(x.device for x in tree_leaves(args) if isinstance(x, Tensor))
            if device.type != "cuda":
                return function(*args)
            with torch.cuda.device(device):
                return function(*args)

        return torch.library.custom_op(name, apply, mutates_args=mutates_args)

    return register
