"""Tiles cover every token once, in the order of groups, and never hold two."""

from __future__ import annotations

import pytest
import torch

from avctl.kernels.groups import LARGEST_TILE, PROGRAMS, largest_tile, num_tiles, sum_tiles, token_groups


@pytest.mark.parametrize("seed", range(8))
def test_tiles_cover_the_tokens_of_every_group_once_and_in_order(seed: int, interpreted: None) -> None:
    generator = torch.Generator().manual_seed(seed)
    count, num_groups = (int(torch.randint(low, high, (1,), generator=generator)) for low, high in ((0, 3_000), (1, 7)))
    index = torch.randint(0, num_groups, (count,), generator=generator) // 2 * 2 % num_groups  # some are empty
    tiles = token_groups(index, num_groups).tiles
    assert tiles
    seen: list[int] = []
    for group in range(num_groups):
        tokens: list[int] = []
        for tile in range(int(tiles.first[group]), int(tiles.first[group + 1])):
            begin, end = int(tiles.begin[tile]), int(tiles.end[tile])
            assert tiles.group[tile] == group and 0 < end - begin <= largest_tile(count)
            tokens += tiles.order[begin:end].tolist()
        assert tokens == (index == group).nonzero().flatten().tolist()
        seen += tokens
    assert sorted(seen) == list(range(count))
    rest = slice(int(tiles.first[-1]), None)
    assert (tiles.begin[rest] == tiles.end[rest]).all()


@pytest.mark.parametrize("on_kernels", [True, False])
@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_group_that_does_not_exist_is_refused(wrong: int, on_kernels: bool, request: pytest.FixtureRequest) -> None:
    if on_kernels:
        request.getfixturevalue("interpreted")
    with pytest.raises(RuntimeError, match="a token's group is out of range"):
        token_groups(torch.tensor([0, wrong, 2]), 3)


def test_the_sums_of_tiles_become_those_of_groups(interpreted: None) -> None:
    sums = torch.randn(2, 150, 70)
    first = torch.tensor([0, 100, 100, 149], dtype=torch.int32)
    expected = torch.stack([sums[:, :100].sum(1), sums[:, :0].sum(1), sums[:, 100:149].sum(1)], 1)
    assert torch.allclose(sum_tiles(sums, first), expected, atol=1e-5)


def test_few_tokens_still_make_many_tiles() -> None:
    assert largest_tile(0) == largest_tile(PROGRAMS) == 1 and largest_tile(10**6) == LARGEST_TILE
    assert num_tiles(256, 2) >= 256 and num_tiles(8 * PROGRAMS, 2) == PROGRAMS + 2
