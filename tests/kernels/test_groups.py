"""Tiles cover every token once, in the order of groups, and never hold two."""

from __future__ import annotations

import pytest
import torch

from avctl.kernels.groups import TILE, token_groups


@pytest.mark.parametrize("seed", range(8))
def test_tiles_cover_the_tokens_of_every_group_once_and_in_order(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    count, num_groups = (int(torch.randint(low, high, (1,), generator=generator)) for low, high in ((0, 200), (1, 7)))
    index = torch.randint(0, num_groups, (count,), generator=generator) // 2 * 2 % num_groups  # some are empty
    groups = token_groups(index, num_groups)
    seen: list[int] = []
    for group in range(num_groups):
        tokens: list[int] = []
        for tile in range(int(groups.first_tile[group]), int(groups.first_tile[group + 1])):
            begin, end = int(groups.tile_begin[tile]), int(groups.tile_end[tile])
            assert groups.tile_group[tile] == group and 0 < end - begin <= TILE
            tokens += groups.order[begin:end].tolist()
        assert tokens == (index == group).nonzero().flatten().tolist()
        seen += tokens
    assert sorted(seen) == list(range(count))
    rest = slice(int(groups.first_tile[-1]), None)
    assert (groups.tile_begin[rest] == groups.tile_end[rest]).all()
