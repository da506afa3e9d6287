"""Operations of attention, by formula on the host, and for PyTorch's counter where it does not know them.

Forward has two products of S S' K for each head and sequence, each multiplication with its addition: 4 N K S S'.
Backward has five of them, as scores are computed again: 2.5 of forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.attention.varlen  # has an operator that is counted below
from torch import Tensor
from torch.utils.flop_counter import flop_registry, register_flop_formula

from avctl.kernels import attention_cpu
from avctl.kernels.segments import Segments

BACKWARD = 2.5  # of forward, in all backends that keep no scores


def attention_flops(queries: Segments, keys: Segments | None, heads: int, width: int) -> int:
    """Of forward, N heads of K channels; keys None: the queries' own. It waits for a GPU that the segments are on."""
    return _forward(heads * width, _pairs(queries.cu_seqlens, (queries if keys is None else keys).cu_seqlens))


def _pairs(cu_queries: Tensor, cu_keys: Tensor) -> int:
    """Of a query and a key in the same sequence."""
    return int((cu_queries.diff().long() * cu_keys.diff().long()).sum())


def _forward(channels: int, pairs: int) -> int:
    return 4 * channels * pairs


def _backward(channels: int, pairs: int) -> int:
    return 10 * channels * pairs


def _of_rows(formula: Callable[[int, int], int], num_before: int) -> Callable[..., int]:
    """Of an operator whose arguments are so many tensors, then q, k, v and where sequences begin; those may be fake, in
    tensors that have no numbers, and then all tokens count as one sequence."""

    def count(*args: Any, **_: Any) -> int:
        q, k, v, *others = args[num_before:]
        cu_queries, cu_keys = [x for x in others if isinstance(x, Tensor) and x.dtype == torch.int32][:2]
        is_known = type(cu_queries) is Tensor and cu_queries.device.type != "meta"
        pairs = _pairs(cu_queries, cu_keys) if is_known else q.shape[0] * k.shape[0]
        return formula(v.shape[1] * v.shape[2], pairs)

    return count


def _of_batch(formula: Callable[[int, int], int], num_before: int) -> Callable[..., int]:
    """Of an operator whose arguments are so many tensors, then q, k, v (B, N, S, K)."""

    def count(*args: Any, **_: Any) -> int:
        (B, N, S, K), keys = args[num_before].shape, args[num_before + 1].shape
        return formula(N * K, B * S * keys[2])

    return count


def _register(target: Any, formula: Callable[..., int]) -> None:
    if target not in flop_registry:  # as PyTorch may learn of it
        register_flop_formula(target, get_raw=True)(formula)


_register(attention_cpu.flash, _of_batch(_forward, 0))
_register(attention_cpu.flash_backward, _of_batch(_backward, 1))
for _name in ("avctl.attention_rows", "avctl.flash_rows", "torch_attn._varlen_attn"):
    _space, _, _operator = _name.partition(".")
    _register(getattr(getattr(torch.ops, _space), _operator), _of_rows(_forward, 0))
    _register(getattr(getattr(torch.ops, _space), f"{_operator}_backward"), _of_rows(_backward, 1))
