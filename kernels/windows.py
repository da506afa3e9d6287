"""Which tokens attend to which: windows in time and place by kind of token, for pairs and for blocks of pairs.

A query attends to a key of its own clip iff

    |t_q - t_k| <= seconds[kind_q][kind_k]
    and, where both are of video, |row_q - row_k| <= rows and |column_q - column_k| <= columns

Edges belong to windows. Times and places, their differences and windows are float32 numbers: halves and quarters of a
second are met exactly, and as rounding keeps order, ranges of blocks say what their pairs say.

S tokens are cut into B = ceil(S / BLOCK) blocks. A pair of blocks is dead (none of its pairs of tokens lives), full
(all live) or partial, by the ranges of times and places that each kind has in each block; what ranges cannot tell is
partial. A block has no more live ones than two of the longest clips touch: where clips are bounded, memory is linear
in tokens. Everything is found on the device, without waiting for it, and once a batch: all layers share it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from avctl.kernels.dispatch import is_exported
from avctl.kernels.segments import Segments

TEXT, VIDEO, AUDIO = KINDS = range(3)
BLOCK = 128  # tokens


class Windows(NamedTuple):
    """How far a query of each kind looks: infinity is all of the clip, a negative number nowhere."""

    seconds: tuple[tuple[float, ...], ...]  # 3 3, by kind of the query, then of the key: text, video, audio
    rows: float = inf  # from video to video
    columns: float = inf


def av_windows(w: float) -> Windows:
    """Sound and picture see each other within `w` seconds; text and all see each other, and so does each kind."""
    return Windows(((inf, inf, inf), (inf, inf, w), (inf, w, inf)))


class Blocks(NamedTuple):
    """For each of B blocks, those of the other side that are not dead, in no list longer than W."""

    index: Tensor  # B W int32: full ones, then partial ones, then what nobody reads
    count: Tensor  # B 2 int32: of full ones, of those and partial ones


class BlockMap(NamedTuple):
    """Windows of S tokens, by pair and by block of `block` tokens."""

    group: Tensor  # S int32: 4 times the clip, and the kind
    place: Tensor  # 3 S float32: second, row, column
    reach: Tensor  # 2 3 S float32: the seconds that a query looks for text, video and audio, and a key is looked for by
    by_query: Blocks  # blocks of keys
    by_key: Blocks  # blocks of queries
    block: int
    rows: float
    columns: float

    @property
    def kind(self) -> Tensor:
        return self.group & 3

    @property
    def clip(self) -> Tensor:
        return self.group >> 2


class Live(NamedTuple):
    """Pairs of a query and a key: numbers of them."""

    pairs: int  # that live
    of_blocks: int  # of blocks that are not dead
    of_clips: int  # all

    @property
    def density(self) -> float:
        """The share that lives; one where there are none."""
        return self.pairs / self.of_clips if self.of_clips else 1.0


def block_map(kind: Tensor, place: Tensor, packed: Segments, windows: Windows) -> BlockMap:
    """kind (S,) int8 or int32: text 0, video 1, audio 2; place (S, 3) float32: second, row and column, all finite.

    ValueError for shapes, formats and devices that do not fit together. RuntimeError for other kinds and for sequences
    of more or fewer tokens, from a GPU with its next error.
    """
    _check(kind, place, packed, windows)
    kind, place, group = kind.int(), place.T.contiguous(), 4 * packed.of_tokens(len(kind)) + kind
    none = Blocks(kind.new_empty(0, 0), kind.new_empty(0, 2))
    map = BlockMap(group, place, _reach(kind, windows), none, none, BLOCK, windows.rows, windows.columns)
    if is_exported():  # the reference runs, which has no blocks
        return map
    torch._assert_async(packed.cu_seqlens[-1] == len(kind), "sequences are of more or fewer tokens")
    torch._assert_async(((kind >= 0) & (kind <= AUDIO)).all(), "a token's kind is out of range")
    ranges = _ranges(map)
    first, last = _touched(map, packed)
    width = min(len(first), 1 + 2 * -(-packed.longest // BLOCK))  # itself, and what its ends reach out of it
    candidate = first[:, None] + torch.arange(width, device=first.device)
    ends = candidate <= last[:, None], candidate.clamp_(max=max(0, len(first) - 1))
    seen = Windows(tuple(zip(*windows.seconds, strict=True)), windows.rows, windows.columns)
    return map._replace(by_query=_blocks(ranges, *ends, windows), by_key=_blocks(ranges, *ends, seen))


def live(map: BlockMap, queries: slice, keys: slice) -> Tensor:
    """Which pairs live of some Q queries and some K keys, (Q, K) bool."""
    group, others = map.group[queries, None], map.group[keys]
    text, video, audio = map.reach[0, :, queries, None]
    kind = others & 3
    reach = torch.where(kind == TEXT, text, torch.where(kind == VIDEO, video, audio))
    near = _distances(map.place[0], queries, keys) <= reach
    near &= (group >> 2) == (others >> 2)
    if min(map.rows, map.columns) < inf:
        rows, columns = (_distances(place, queries, keys) for place in map.place[1:])
        is_near = (rows <= map.rows) & (columns <= map.columns)
        near &= is_near | ~((group & 3 == VIDEO) & (kind == VIDEO))
    return near


def _distances(place: Tensor, queries: slice, keys: slice) -> Tensor:
    return (place[queries, None] - place[keys]).abs_()


class Part(NamedTuple):
    """Queries next to each other, and where in the row keys stand that live for all of them, and that may for some."""

    queries: slice
    full: list[slice]
    partial: list[slice]

    @property
    def keys(self) -> list[slice]:
        return self.full + self.partial


def parts(map: BlockMap, together: int = 1) -> Iterator[Part]:
    """All blocks of queries, so many at once. Waits for the device."""
    S, size = len(map.group), map.block
    lists = list(zip(map.by_query.index.tolist(), map.by_query.count.tolist(), strict=True))
    for first in range(0, len(lists), together):
        some = lists[first : first + together]
        full = set.intersection(*(set(index[:num_full]) for index, (num_full, _) in some))
        partial = set.union(*(set(index[:num_alive]) for index, (_, num_alive) in some)) - full
        queries = slice(first * size, min((first + together) * size, S))
        yield Part(queries, _runs(sorted(full), size, S), _runs(sorted(partial), size, S))


def count_live(map: BlockMap) -> Live:
    """Waits for the device."""
    pairs = of_blocks = 0
    for queries, full, partial in parts(map):
        Q = queries.stop - queries.start
        whole, others = (sum(keys.stop - keys.start for keys in runs) for runs in (full, partial))
        pairs += Q * whole + sum(int(live(map, queries, keys).sum()) for keys in partial)
        of_blocks += Q * (whole + others)
    return Live(pairs, of_blocks, int(map.clip.bincount().square().sum()))


def _runs(blocks: list[int], size: int, S: int) -> list[slice]:
    """Tokens of blocks, as few slices as can be."""
    runs: list[slice] = []
    for block in blocks:
        begin, end = block * size, min((block + 1) * size, S)
        if runs and runs[-1].stop == begin:
            begin = runs.pop().start
        runs.append(slice(begin, end))
    return runs


def _reach(kind: Tensor, windows: Windows) -> Tensor:
    reach = torch.full((2, 3, len(kind)), -1.0, device=kind.device)
    for query in KINDS:
        for key in KINDS:
            reach[0, key].masked_fill_(kind == query, windows.seconds[query][key])
            reach[1, query].masked_fill_(kind == key, windows.seconds[query][key])
    return reach


class _Ranges(NamedTuple):
    """Of tokens in B blocks, by kind; from infinity to minus infinity where a block has none."""

    low: Tensor  # 3 axes, 3 kinds, B
    high: Tensor
    clip: Tensor  # B: the clip that the whole block is in, or -1


def _ranges(map: BlockMap) -> _Ranges:
    missing = -len(map.kind) % map.block
    kind, clip = (pad(x, (0, missing), value=-1).view(-1, map.block) for x in (map.kind, map.clip))
    place = pad(map.place, (0, missing)).view(3, 1, -1, map.block)
    is_kind = kind == torch.arange(3, device=kind.device)[:, None, None]
    low, high = (torch.where(is_kind, place, end) for end in (inf, -inf))
    whole = torch.where((clip == clip[:, :1]).all(1), clip[:, 0], -1)
    return _Ranges(low.amin(-1), high.amax(-1), whole)


def _touched(map: BlockMap, packed: Segments) -> tuple[Tensor, Tensor]:
    """The first and the last block that the clips of each block touch, (B,) each."""
    clips = map.clip[:: map.block].long(), map.clip[map.block - 1 :: map.block].long()
    last = torch.cat([clips[1], map.clip[-1:].long()])[: len(clips[0])]  # the last block may end before its size
    return packed.cu_seqlens[clips[0]] // map.block, (packed.cu_seqlens[last + 1] - 1) // map.block


def _blocks(ranges: _Ranges, is_there: Tensor, candidate: Tensor, windows: Windows) -> Blocks:
    """What lives of candidates (B, W) for each block, in lists. Kinds and axes one by one: where a clip has 131,072
    tokens, a number of each candidate takes 4 MB."""
    alive, full = torch.zeros_like(is_there), torch.ones_like(is_there)
    for own in KINDS:
        for other in KINDS:
            limits = windows.seconds[own][other], *((windows.rows, windows.columns) if own == other == VIDEO else ())
            both = (ranges.low[0, own] < inf)[:, None] & (ranges.low[0, other] < inf)[candidate]
            some = whole = both
            for axis, limit in enumerate(limits):
                is_near, is_far = _within(ranges, axis, own, other, candidate, limit)
                some, whole = some & is_near, whole & is_far
            alive |= some
            full &= whole | ~both
    alive &= is_there
    clip = ranges.clip[:, None]
    full &= alive & (clip >= 0) & (clip == ranges.clip[candidate])
    order = torch.argsort(full.byte() + alive.byte(), dim=1, descending=True, stable=True)
    count = torch.stack([full.sum(1), alive.sum(1)], dim=1)
    return Blocks(candidate.gather(1, order).int(), count.int())


def _within(ranges: _Ranges, axis: int, own: int, other: int, candidate: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """Whether the nearest, and whether the farthest tokens of `other` kind in candidates (B, W) are within a limit of
    those of `own` kind in each block, along an axis."""
    low, high = ranges.low[axis, own, :, None], ranges.high[axis, own, :, None]
    others_low, others_high = ranges.low[axis, other][candidate], ranges.high[axis, other][candidate]
    near = torch.maximum(others_low - high, low - others_high).clamp_(min=0)  # of those that overlap
    is_near = near <= limit
    del near
    return is_near, torch.maximum(others_high - low, high - others_low) <= limit


def _check(kind: Tensor, place: Tensor, packed: Segments, windows: Windows) -> None:
    if kind.ndim != 1 or kind.dtype not in (torch.int8, torch.int32):
        raise ValueError(f"kind {kind.dtype} {tuple(kind.shape)}: (tokens,) of int8 or int32 is needed")
    if place.shape != (len(kind), 3) or place.dtype != torch.float32:
        raise ValueError(f"place {place.dtype} {tuple(place.shape)}: {(len(kind), 3)} of float32 is needed")
    if not kind.device == place.device == packed.cu_seqlens.device:
        raise ValueError("kind, place, cu_seqlens are on different devices")
    if [len(row) for row in windows.seconds] != [3, 3, 3]:
        raise ValueError(f"seconds {windows.seconds}: 3 rows of 3 are needed")
