"""Operations by formula are those that PyTorch counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from avctl.kernels.attention import attention
from avctl.kernels.attention_flops import BACKWARD, attention_flops
from avctl.kernels.segments import Segments, segments


def of(*lengths: int) -> Segments:
    return segments(torch.tensor(lengths))


@pytest.mark.parametrize("backend", ["sdpa", "products"])
@pytest.mark.parametrize(
    ("queries", "keys"), [(of(7, 7), None), (of(3, 0, 9, 9), None), (of(7, 7), of(4, 4)), (of(3, 0, 5), of(2, 6, 0))]
)
def test_the_formula_is_what_is_counted(queries: Segments, keys: Segments | None, backend: str) -> None:
    q = torch.randn(int(queries.cu_seqlens[-1]), 2, 16, requires_grad=True)
    k = torch.randn(int((keys or queries).cu_seqlens[-1]), 2, 16, requires_grad=True)
    with FlopCounterMode(display=False) as forward:
        out = attention(q, k, k, queries, keys, backend=backend)
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    expected = attention_flops(queries, keys, heads=2, width=16)
    is_kept = backend == "products" and queries.is_batch(len(q)) and (keys or queries).is_batch(len(k))
    assert forward.get_total_flops() == expected
    assert backward.get_total_flops() == expected * (2 if is_kept else BACKWARD)  # kept weights are not made again


def test_the_operations_of_rows_are_those_of_every_sequence_for_itself() -> None:
    parts = [attention_flops(of(length), None, 3, 32) for length in (5, 8, 1)]
    assert attention_flops(of(5, 0, 8, 1), None, 3, 32) == sum(parts) == 4 * 3 * 32 * (25 + 64 + 1)


def test_the_operators_of_a_gpu_are_counted_where_nothing_runs() -> None:
    count = torch.ops.avctl.flash_rows, torch.ops.torch_attn._varlen_attn
    where = of(3, 5).cu_seqlens.to("meta")
    x: Tensor = torch.empty(8, 2, 16, device="meta")
    for operator, rest in zip(count, ((5, 5, ""), (5, 5)), strict=True):
        with FlopCounterMode(display=False) as counter:
            operator(x, x, x, where, where, *rest)
        assert counter.get_total_flops() == 4 * 2 * 16 * 8 * 8  # lengths are unknown: as of one sequence
