"""Rotations know differences of time and place only, on one clock for sound and picture."""

from __future__ import annotations

import pytest
import torch

from avctl.models.rope import rotate, rotation

K = 32


def at(*positions: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(positions, dtype=torch.float64)


def scores(positions: torch.Tensor) -> torch.Tensor:
    """q . k (S, S) of one random query and one random key that stand at every position."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, K, generator=generator, dtype=torch.float64) for _ in range(2))
    cos_sin = rotation(positions, K)
    turned = [rotate(x.expand(1, len(positions), 1, K), cos_sin)[0, :, 0] for x in (q, k)]
    return turned[0] @ turned[1].T


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


def test_lengths_are_kept() -> None:
    x = torch.randn(2, 5, 2, 3, K, generator=torch.Generator().manual_seed(1))
    turned = rotate(x, rotation(torch.rand(5, 3), K))
    assert turned.shape == x.shape
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)


def test_the_origin_is_left_as_it_is() -> None:
    x = torch.randn(1, 1, 1, K)
    assert torch.equal(rotate(x, rotation(torch.zeros(1, 3), K)), x)


def test_no_two_moments_of_a_long_clip_look_alike() -> None:
    seconds = torch.arange(0, 8, 0.05)
    features = rotation(torch.stack([seconds, torch.zeros(160), torch.zeros(160)], dim=1), K)[:, :, : K // 2]
    distances = torch.cdist(features.movedim(0, 1).flatten(1), features.movedim(0, 1).flatten(1))
    assert (distances + 10 * torch.eye(160)).min() > 0.2


def test_narrow_heads_spend_all_pairs_on_time() -> None:
    cos_sin = rotation(at((0.0, 5, 5), (0.0, 0, 0)), 8)
    assert torch.equal(cos_sin[:, 0], cos_sin[:, 1])
