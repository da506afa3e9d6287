"""Sequences end to end: where each stands, and which of them a token is in."""

from __future__ import annotations

import pytest
import torch

from avctl.kernels.segments import batch_segments, segments


def test_sequences_stand_end_to_end_and_tokens_know_theirs() -> None:
    packed = segments(torch.tensor([2, 0, 3, 1, 0]))
    assert packed.cu_seqlens.tolist() == [0, 2, 2, 5, 6, 6] and packed.cu_seqlens.dtype == torch.int32
    assert packed.longest == 3 and packed.count == 5
    assert packed.of_tokens(6).tolist() == [0, 0, 2, 2, 2, 3]
    assert packed.index_of_tokens(6).tolist() == [0, 1, 0, 1, 2, 0]


def test_equal_lengths_are_a_batch_and_others_are_not() -> None:
    assert segments(torch.tensor([4, 4])).is_batch(8)
    assert not segments(torch.tensor([4, 3])).is_batch(7)
    assert segments(torch.tensor([3, 3])).of_tokens(6).tolist() == [0, 0, 0, 1, 1, 1]
    assert segments(torch.tensor([3, 3])).index_of_tokens(6).tolist() == [0, 1, 2] * 2
    assert segments(torch.tensor([], dtype=torch.long)).is_batch(0)
    made, expected = batch_segments(3, 4, torch.device("cpu")), segments(torch.tensor([4, 4, 4]))
    assert torch.equal(made.cu_seqlens, expected.cu_seqlens) and made.longest == expected.longest


def test_a_batch_is_a_view_of_its_row() -> None:
    x = torch.arange(24.0).view(6, 2, 2)[:, 0]
    made = segments(torch.tensor([3, 3])).batch(x)
    assert made.shape == (2, 3, 2) and made.data_ptr() == x.data_ptr() and torch.equal(made.flatten(0, 1), x)


@pytest.mark.parametrize("lengths", [torch.tensor([1, -1]), torch.tensor([1.0]), torch.tensor([[1]])])
def test_lengths_that_are_none_are_refused(lengths: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="lengths"):
        segments(lengths)
