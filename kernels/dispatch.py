"""Which implementation of an operation runs: decided here, once, and nowhere else."""

from __future__ import annotations

from torch import Tensor


def runs_triton(*tensors: Tensor) -> bool:
    """Whether Triton's kernels run for these tensors; elsewhere the reference does."""
    return all(tensor.is_cuda for tensor in tensors)
