"""Which tokens share a modulation: the group of every token, and the groups cut into tiles for what sums over them.

Tokens may stand in any order, as given and free ones do; groups may be empty. Everything is found on the device,
without waiting for it, and once a batch: all layers share it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TILE = 32  # tokens, at most: a tile's sum is written once, which costs 4 % of reading its tokens


class TokenGroups(NamedTuple):
    """N tokens in G groups; T tiles, of which the last may be empty."""

    index: Tensor  # N int32, the group of each token
    order: Tensor  # N int32, the tokens by group, in their order
    tile_group: Tensor  # T int32
    tile_begin: Tensor  # T int32, in `order`
    tile_end: Tensor  # T int32
    first_tile: Tensor  # G + 1 int32, of each group; behind the last group's last


def token_groups(index: Tensor, num_groups: int) -> TokenGroups:
    """`index` (N,), the group of each token, 0 to `num_groups` - 1."""
    counts = torch.bincount(index, minlength=num_groups)
    begins = torch.cumsum(counts, 0) - counts
    ends_of_tiles = torch.cumsum((counts + TILE - 1) // TILE, 0)
    first_tile = torch.cat([ends_of_tiles.new_zeros(1), ends_of_tiles])
    tile = torch.arange(-(-len(index) // TILE) + num_groups, device=index.device)  # as many as there can be
    group = torch.searchsorted(ends_of_tiles, tile, right=True).clamp(max=num_groups - 1)
    ends = begins[group] + counts[group]
    begin = torch.minimum(begins[group] + (tile - first_tile[group]) * TILE, ends)
    end = torch.minimum(begin + TILE, ends)
    order = torch.argsort(index, stable=True)
    return TokenGroups(*(x.int() for x in (index, order, group, begin, end, first_tile)))
