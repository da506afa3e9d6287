"""What the kernels of `av_window_attention` share: tiles of tokens, and which pairs of two tiles live.

Blocks of a map are cut into tiles that fit in registers. A program has a tile of one side and a head, and goes through
the tiles of the other side in the blocks of its list: full ones, where nothing is masked, then partial ones.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from torch import Tensor

from avctl.kernels.dispatch import capability, tl, triton
from avctl.kernels.dot import needs_upcast
from avctl.kernels.windows import BlockMap


class Cut(NamedTuple):
    """Into how many tiles a kernel cuts a block of queries and one of keys, and how it runs."""

    queries: int
    keys: int
    num_warps: int
    num_stages: int  # at 5 two tiles are on their way while one is used: their place in the row takes as many as they


class Cuts(NamedTuple):
    """Of the kernel forward, and of those backward by queries and by keys."""

    forward: Cut
    queries: Cut
    keys: Cut


CUTS = {  # by channels: the largest tiles that no GPU of the ledger spills
    64: Cuts(Cut(2, 2, 4, 5), Cut(1, 4, 8, 5), Cut(4, 1, 8, 5)),
    128: Cuts(Cut(1, 2, 8, 5), Cut(1, 4, 8, 5), Cut(4, 1, 8, 5)),
    256: Cuts(Cut(2, 2, 8, 3), Cut(2, 4, 8, 5), Cut(4, 4, 8, 3)),
}
CUTS_TIGHT = CUTS | {  # where rows and columns of tokens, or a mask of channels, are in registers too
    128: Cuts(Cut(1, 4, 8, 5), Cut(2, 4, 8, 5), Cut(4, 2, 8, 5)),
    256: Cuts(Cut(2, 2, 8, 3), Cut(2, 4, 8, 3), Cut(4, 4, 8, 3)),
}
CUTS_HOPPER = Cuts(
    Cut(1, 1, 8, 3), Cut(1, 2, 8, 3), Cut(4, 1, 8, 5)
)  # of 128 channels: its registers hold larger tiles
CUTS_FLOAT32 = Cuts(*[Cut(4, 4, 8, 3)] * 3)  # without tensor cores


@triton.jit
def place_of(tile, index_ptr, BLOCK: tl.constexpr, TOKENS: tl.constexpr):
    """The first token of a tile, of those that the blocks of a list are cut into."""
    TILES: tl.constexpr = BLOCK // TOKENS
    return tl.load(index_ptr + tile // TILES) * BLOCK + tile % TILES * TOKENS


@triton.jit
def load_tile(
    ptr, start, stride, S, TOKENS: tl.constexpr, K: tl.constexpr, CHANNELS: tl.constexpr, WHOLE: tl.constexpr
):  # fmt: skip
    """The tokens from `start` on of a tensor (S, K), (TOKENS, CHANNELS); zeros where there are none, unless WHOLE."""
    token = tl.arange(0, TOKENS)[:, None]
    channel = tl.arange(0, CHANNELS)[None, :]
    at = ptr + tl.cast(start, tl.int64) * stride + (token * stride + channel).to(tl.uint32)
    if K == CHANNELS:
        if WHOLE:
            return tl.load(at)
        return tl.load(at, mask=start + token < S, other=0.0)
    return tl.load(at, mask=(start + token < S) & (channel < K), other=0.0)


@triton.jit
def store_tile(ptr, x, start, stride, S, TOKENS: tl.constexpr, K: tl.constexpr, CHANNELS: tl.constexpr):
    """The reverse."""
    token = tl.arange(0, TOKENS)[:, None]
    channel = tl.arange(0, CHANNELS)[None, :]
    at = ptr + tl.cast(start, tl.int64) * stride + (token * stride + channel).to(tl.uint32)
    tl.store(at, x, mask=(start + token < S) & (channel < K))


@triton.jit
def load_own(group_ptr, place_ptr, reach_ptr, token, S):
    """Of tokens of the tile that a program has: group, second, row, column, and their reach to text, video and audio.

    Where there are no tokens, here and in `live_with`, a group is of a clip that no other token has.
    """
    ok = token < S
    group = tl.load(group_ptr + token, mask=ok, other=1 << 30)
    t = tl.load(place_ptr + token, mask=ok, other=0.0)
    row = tl.load(place_ptr + S + token, mask=ok, other=0.0)
    column = tl.load(place_ptr + 2 * S + token, mask=ok, other=0.0)
    text = tl.load(reach_ptr + token, mask=ok, other=0.0)
    video = tl.load(reach_ptr + S + token, mask=ok, other=0.0)
    audio = tl.load(reach_ptr + 2 * S + token, mask=ok, other=0.0)
    return group, t, row, column, text, video, audio


@triton.jit
def live_with(own, group_ptr, place_ptr, token, S, rows, columns, IN_PLACE: tl.constexpr):
    """`windows.live` of own tokens, along one axis, and others, along the other; IN_PLACE, rows and columns count."""
    own_group, own_t, own_row, own_column, text, video, audio = own
    ok = token < S
    group = tl.load(group_ptr + token, mask=ok, other=1 << 29)
    t = tl.load(place_ptr + token, mask=ok, other=0.0)
    kind = group & 3
    reach = tl.where(kind == 0, text, tl.where(kind == 1, video, audio))
    near = ((own_group ^ group) < 4) & (tl.abs(own_t - t) <= reach)
    if IN_PLACE:
        row = tl.load(place_ptr + S + token, mask=ok, other=0.0)
        column = tl.load(place_ptr + 2 * S + token, mask=ok, other=0.0)
        is_near = (tl.abs(own_row - row) <= rows) & (tl.abs(own_column - column) <= columns)
        near = near & (is_near | (kind != 1) | ((own_group & 3) != 1))
    return near


def cuts(q: Tensor, map: BlockMap) -> Cuts:
    """Of q (S, N, K) in the windows of a map."""
    if q.itemsize == 4:
        return CUTS_FLOAT32
    K = q.shape[2]
    is_tight = _is_in_place(map) or _channels(K) != K
    if K == 128 and not is_tight and capability(q.device) == 90:
        return CUTS_HOPPER
    made = CUTS_TIGHT if is_tight else CUTS
    return next(cuts for most, cuts in made.items() if most >= K)


def constants(q: Tensor, map: BlockMap, cut: Cut) -> dict[str, int | bool]:
    """What a kernel is compiled for."""
    return {
        "K": q.shape[2],
        "CHANNELS": _channels(q.shape[2]),
        "BLOCK": map.block,
        "QUERIES": map.block // cut.queries,
        "KEYS": map.block // cut.keys,
        "IN_PLACE": _is_in_place(map),
        "UPCAST": needs_upcast(),
        "num_warps": cut.num_warps,
        "num_stages": cut.num_stages,
    }


def _channels(K: int) -> int:
    """Of a tile: a power of two, and tensor cores take no fewer than 16."""
    return max(16, triton.next_power_of_2(K))


def _is_in_place(map: BlockMap) -> bool:
    """Whether rows or columns of video count."""
    return min(map.rows, map.columns) < inf


def strides(*tensors: Tensor) -> list[int]:
    """From token to token and from head to head, of each. Kernels know them: that spares registers for addresses."""
    return [stride for x in tensors for stride in x.stride()[:2]]


def by_channels(x: Tensor) -> Tensor:
    """The tensor with the channels of a head side by side, which is how kernels read them."""
    return x if x.stride(-1) == 1 else x.contiguous()
