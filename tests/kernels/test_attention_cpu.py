"""Rows of different lengths on a processor are one operator; its runs of equal lengths are batches."""

from __future__ import annotations

import pytest
import torch

from avctl.kernels import attention_cpu as module
from avctl.kernels.segments import segments


def test_equal_lengths_next_to_each_other_are_one_batch() -> None:
    queries, keys = torch.tensor([4, 4, 2, 2, 2, 0, 3]), torch.tensor([5, 5, 5, 5, 1, 7, 0])
    runs = list(module._runs(segments(queries).cu_seqlens, segments(keys).cu_seqlens, heads=3))
    assert [(run.rows, run.key_rows, run.count) for run in runs] == [
        (slice(0, 8), slice(0, 10), 2),
        (slice(8, 12), slice(10, 20), 2),
        (slice(12, 14), slice(20, 21), 1),
    ]  # without queries or keys there is nothing to do
    x = torch.randn(17, 3, 8)
    assert runs[0].queries(x).shape == (2, 3, 4, 8) and runs[0].queries(x).data_ptr() == x.data_ptr()
    assert torch.equal(runs[2].keys(torch.arange(28.0)[:, None]), torch.tensor([[[20.0]]]))


def test_no_run_has_more_scores_than_memory_is_kept_for() -> None:
    where = segments(torch.tensor([512] * 70 + [5_000])).cu_seqlens
    runs = list(module._runs(where, where, heads=1))
    assert [run.count for run in runs] == [64, 6, 1] and module.MOST_SCORES == 64 * 512 * 512
    assert [(run.rows, run.key_rows) for run in runs] == [
        (slice(0, 32_768),) * 2, (slice(32_768, 35_840),) * 2, (slice(35_840, 40_840),) * 2
    ]  # fmt: skip


@pytest.mark.parametrize("form", list(module.FORMS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_an_operator(form: str, dtype: torch.dtype) -> None:
    where = segments(torch.tensor([5, 0, 3, 3]))
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
