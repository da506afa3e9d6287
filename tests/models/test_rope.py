"""Rotations know differences of time and place only, on one clock for sound and picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avctl.kernels.groups import token_groups
from avctl.kernels.qk_norm_rope import Rotation, qk_norm_rope
from avctl.models.rope import rotation

K = 32


def at(*positions: tuple[float, float, float]) -> Tensor:
    return torch.tensor(positions, dtype=torch.float64)


def turns(positions: Tensor) -> Rotation:
    """Of tokens at positions (S, 3)."""
    return rotation(positions.flatten(), torch.arange(positions.numel()).view(-1, 3), K)


def turned(x: Tensor, positions: Tensor) -> Tensor:
    """Queries and keys x (2, K) of size sqrt(K), as they stand at every position: (S, 2, K)."""
    qk = x[None, :, None].expand(len(positions), -1, -1, -1)
    one = token_groups(torch.zeros(len(positions), dtype=torch.long), 1)
    return qk_norm_rope(qk, torch.ones(1, 2, K, dtype=x.dtype), one, turns(positions))[:, :, 0]


def scores(positions: Tensor) -> Tensor:
    """q . k (S, S) of one random query and one random key that stand at every position."""
    x = torch.randn(2, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, k = turned(x, positions).unbind(1)
    return q @ k.T


def test_scores_depend_on_differences_only() -> None:
    positions = at((0.0, 0, 0), (0.3, 1, 2), (1.7, 3, 0), (4.0, 0, 5))
    moved = positions + at((2.5, 7, 3))
    assert torch.allclose(scores(positions), scores(moved), atol=1e-9)


@pytest.mark.parametrize("other", [(0.4, 0, 0), (0.0, 1, 0), (0.0, 0, 1)])
def test_scores_do_depend_on_time_and_on_both_directions(other: tuple[float, float, float]) -> None:
    both = scores(at((0.0, 0, 0), other))
    assert abs(both[0, 0] - both[0, 1]) > 1e-2


def test_rows_and_columns_are_told_apart() -> None:
    to_row, to_column = (scores(at((0.0, 0, 0), place))[0, 1] for place in ((0.0, 1, 0), (0.0, 0, 1)))
    assert abs(to_row - to_column) > 1e-2


def test_the_origin_is_left_as_it_is() -> None:
    x = torch.randn(2, K, dtype=torch.float64)
    x *= (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    assert torch.allclose(turned(x, at((0.0, 0, 0)))[0], x, atol=1e-5)


def test_no_two_moments_of_a_long_clip_look_alike() -> None:
    seconds = torch.arange(0, 8, 0.05)
    table = rotation(seconds, torch.zeros(1, 3, dtype=torch.long), K).table[:, :, : K // 2 - 2 * (K // 16)]
    features = table.movedim(0, 1).flatten(1)
    assert (torch.cdist(features, features) + 10 * torch.eye(160)).min() > 0.2


def test_narrow_heads_spend_all_pairs_on_time() -> None:
    assert rotation(torch.arange(3.0), torch.zeros(1, 3, dtype=torch.long), 8).pairs == (4, 0)
