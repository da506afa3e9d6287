"""Which tokens share a row of a table: the group of every token, and the groups cut into tiles for what sums over them.

Modulation has a row a clip and kind of token, the scale of queries and keys one a stream. Tokens may stand in any
order, as given and free ones do; groups may be empty. Everything is found on the device, without waiting for it, and
once a batch: all layers share it.

The gradient of a table is a sum over the tokens of each group. A kernel writes one sum a tile, then `sum_tiles` adds up
the tiles of a group in their order: the result does not depend on who was first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avctl.kernels.dispatch import is_exported, runs_triton, tl, triton

LARGEST_TILE = (
    32  # tokens: a tile's sums in float32 are 6 % of what reading two and writing one of 16 bits a token moves
)
PROGRAMS = 512  # tiles are smaller where there would be fewer than these: a GPU has about a hundred processors
SUM_TILES, SUM_BLOCK = 64, 64  # a program of `sum_tiles` reads so many tiles at once, of so many channels


class Tiles(NamedTuple):
    """The groups cut into T tiles, of which the last may be empty. All int32."""

    order: Tensor  # S, the tokens by group, in their order
    group: Tensor  # T
    begin: Tensor  # T, in `order`
    end: Tensor  # T
    first: Tensor  # G + 1, the first tile of each group; behind the last group's last


class TokenGroups(NamedTuple):
    """S tokens in G groups."""

    index: Tensor  # S int32, the group of each token
    num_groups: int  # G
    tiles: Tiles | None  # where kernels run


def token_groups(index: Tensor, num_groups: int) -> TokenGroups:
    """`index` (S,) integers, 0 to `num_groups` - 1. RuntimeError where one is not, from a GPU with its next error."""
    index = index.int().contiguous()
    if not is_exported():
        torch._assert_async(((index >= 0) & (index < num_groups)).all(), "a token's group is out of range")
    if not runs_triton(index):
        return TokenGroups(index, num_groups, None)
    grouped, order = torch.sort(index, stable=True)
    groups = torch.arange(num_groups, device=index.device, dtype=index.dtype)
    begins, ends = torch.searchsorted(grouped, groups), torch.searchsorted(grouped, groups, right=True)
    size = largest_tile(len(index))
    behind = torch.cumsum((ends - begins + size - 1) // size, 0)  # the tile after each group's last
    tile = torch.arange(num_tiles(len(index), num_groups), device=index.device)
    group = torch.searchsorted(behind, tile, right=True).clamp(max=num_groups - 1)
    first = torch.cat([behind.new_zeros(1), behind])
    begin = torch.minimum(begins[group] + (tile - first[group]) * size, ends[group])
    end = torch.minimum(begin + size, ends[group])
    return TokenGroups(index, num_groups, Tiles(*(x.int() for x in (order, group, begin, end, first))))


def largest_tile(num_tokens: int) -> int:
    """Tokens of a tile, at most."""
    return max(1, min(LARGEST_TILE, num_tokens // PROGRAMS))


def num_tiles(num_tokens: int, num_groups: int) -> int:
    """T: as many as there can be, wherever the groups end."""
    return -(-num_tokens // largest_tile(num_tokens)) + num_groups


@triton.jit
def _sum_tiles(sums_ptr, first_ptr, out_ptr, T, G, D, TILES: tl.constexpr, BLOCK: tl.constexpr):
    """The sums (T, D) of all tiles of a group; the third axis of the grid counts tables, which follow one another."""
    group = tl.program_id(0).to(tl.int64)
    table = tl.program_id(2).to(tl.int64)
    channel = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[None, :]
    total = tl.zeros((TILES, BLOCK), tl.float32)
    tile = tl.load(first_ptr + group)
    end = tl.load(first_ptr + group + 1)
    while tile < end:  # the interpreter of Triton 3.6 takes no tensor in `range`, with NumPy 2.4
        tiles = (tile + tl.arange(0, TILES))[:, None]
        ok = (tiles < end) & (channel < D)
        total += tl.load(sums_ptr + (table * T + tiles) * D + channel, mask=ok, other=0.0)
        tile += TILES
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + (table * G + group) * D + channel, tl.sum(total, 0), mask=channel < D)


def sum_tiles(sums: Tensor, first: Tensor) -> Tensor:
    """Sums of tiles (tables, T, D) float32 and `Tiles.first` -> sums of groups (tables, G, D) float32."""
    tables, T, D = sums.shape
    G = len(first) - 1
    totals = torch.empty((tables, G, D), dtype=torch.float32, device=sums.device)
    grid = (G, triton.cdiv(D, SUM_BLOCK), tables)
    _sum_tiles[grid](sums, first, totals, T, G, D, TILES=SUM_TILES, BLOCK=SUM_BLOCK)
    return totals
