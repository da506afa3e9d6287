"""Rows of different lengths on a processor are one operator; sequences of equal lengths in them are batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avctl.kernels import attention_cpu as module
from avctl.kernels.segments import segments


def rows(where: slice | Tensor) -> list[int]:
    return torch.arange(10**5)[where].tolist()


def test_sequences_of_equal_lengths_are_one_batch_wherever_they_stand() -> None:
    queries, keys = torch.tensor([4, 4, 2, 3, 2, 2, 0, 3, 3]), torch.tensor([5, 5, 5, 1, 1, 5, 7, 0, 1])
    found = list(module._by_length(segments(queries).cu_seqlens, segments(keys).cu_seqlens, heads=3))
    first, twos, threes, last = found  # without queries or keys there is nothing to do
    assert (first.rows, first.key_rows, first.count) == (slice(0, 8), slice(0, 10), 2)
    assert (rows(twos.rows), rows(twos.key_rows), twos.count) == ([8, 9, 15, 16], [*range(10, 15), *range(17, 22)], 2)
    assert (rows(threes.rows), rows(threes.key_rows), threes.count) == ([10, 11, 12, 20, 21, 22], [15, 29], 2)
    assert (last.rows, last.key_rows, last.count) == (slice(13, 15), slice(16, 17), 1)
    x = torch.randn(23, 3, 8)
    assert first.queries(x).shape == (2, 3, 4, 8) and first.queries(x).data_ptr() == x.data_ptr()
    assert torch.equal(threes.keys(torch.arange(30.0)[:, None]).flatten(), torch.tensor([15.0, 29.0]))


def test_no_batch_has_more_scores_than_memory_is_kept_for() -> None:
    where = segments(torch.tensor([512] * 40 + [5_000] + [512] * 30)).cu_seqlens
    found = list(module._by_length(where, where, heads=1))
    assert [each.count for each in found] == [64, 6, 1] and module.MOST_SCORES == 64 * 512 * 512
    some = [*range(20_480), *range(25_480, 25_480 + 24 * 512)]
    assert rows(found[0].rows) == rows(found[0].key_rows) == some
    assert [found[1].rows, found[2].rows] == [slice(37_768, 40_840), slice(20_480, 25_480)]


@pytest.mark.parametrize("form", list(module.FORMS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_an_operator(form: str, dtype: torch.dtype) -> None:
    where = segments(torch.tensor([4, 0, 3, 4]))
    q, k, v = torch.randn(11, 3, 2, 16).to(dtype).unbind(1)
    for padding in (None, torch.arange(11) % 2 == 0):
        leaves = [x.detach().clone().requires_grad_() for x in (q, k, v)]
        torch.library.opcheck(module._rows, (*leaves, where.cu_seqlens, where.cu_seqlens, padding, form))


def test_scores_are_not_kept_for_backward() -> None:
    q, k, v = torch.randn(900, 3, 2, 16).unbind(1)
    where = segments(torch.tensor([600, 300]))
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (kept.append(x.numel()), x)[1], lambda x: x):
        for form in module.FORMS:
            module.by_form(q.clone().requires_grad_(), k, v, where, where, None, form)
    assert max(kept) == q.numel()
