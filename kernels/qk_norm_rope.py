"""Queries and keys as attention takes them: RMSNorm with a scale a channel, then turned by their place in the clip.

    n = x / sqrt(mean(x^2) + eps) * weight[g],  g = group of token s (its stream: each has weights of its own)
    out = (a cos - b sin, a sin + b cos),  a and b the halves of n,  pair p by the position of s along axis(p)

The K/2 pairs of a head's channels are dealt out to the axes t, y and x (RoPE: Su et al. 2021). S tokens of N heads of K
channels. Cosines and sines are kept for the P positions that occur along any axis, and a token says which three are
its own: P K numbers that stay in cache, where S K would be an eighth of what is moved. Eager PyTorch moves 20 S N K
numbers forward and 32 S N K backward; the kernels 4 S N K and 6 S N K. Backward turns the gradients back, and is then
that of the norm; nothing but the inputs is saved, because a weight may be zero and its input not found again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avctl.kernels.dispatch import is_exported, operator, runs_triton, tl, triton
from avctl.kernels.groups import Tiles, TokenGroups, sum_tiles
from avctl.kernels.rows import EPS, check_formats, rms_normalize

NUMBERS = 4_096  # of a program, at most: half as many in each half of its heads
NUMBERS_A_WARP = 512


class Rotation(NamedTuple):
    """Where S tokens stand along each axis, among P positions, and what turns them there."""

    table: Tensor  # 2 P K/2: cosines, sines
    place: Tensor  # S 3 int32: the position of each token along t, y and x
    pairs: tuple[int, int]  # that turn with t, and with y; the rest with x
    cos_sin: Tensor | None  # 2 S K/2, of each token: where no kernels run


def rotation(angles: Tensor, place: Tensor, pairs: tuple[int, int]) -> Rotation:
    """angles (P, K/2) of each pair at each position, place (S, 3) integers, `pairs` that turn with t and with y.

    RuntimeError where a place is not one of the P, from a GPU with its next error.
    """
    if not is_exported():
        torch._assert_async(((place >= 0) & (place < len(angles))).all(), "a token's place is out of range")
    table = torch.stack([angles.cos(), angles.sin()])
    cos_sin = None if runs_triton(table) else of_tokens(table, place, pairs)
    return Rotation(table, place.int().contiguous(), pairs, cos_sin)


def of_tokens(table: Tensor, place: Tensor, pairs: tuple[int, int]) -> Tensor:
    """Cosines and sines of each token, (2, S, K/2), from those of positions (2, P, K/2)."""
    axes = table.split([*pairs, table.shape[-1] - sum(pairs)], dim=-1)
    return torch.cat([axis.index_select(1, at) for axis, at in zip(axes, place.unbind(1), strict=True)], dim=-1)


def qk_norm_rope_reference(qk: Tensor, weight: Tensor, index: Tensor, cos_sin: Tensor) -> Tensor:
    """What `qk_norm_rope` means. Tests and benches compare against this function and no other."""
    normalized = rms_normalize(qk) * weight.index_select(0, index)[:, :, None].to(qk.dtype)
    a, b = normalized.chunk(2, dim=-1)
    cos, sin = cos_sin[:, :, None, None].to(qk.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


@triton.jit
def _cos_sin(table_ptr, place_ptr, token, P, PAIRS, T_PAIRS, TY_PAIRS, pair):
    """Cosines and sines (1, BLOCK) of a token."""
    t = tl.load(place_ptr + 3 * token)
    y = tl.load(place_ptr + 3 * token + 1)
    x = tl.load(place_ptr + 3 * token + 2)
    at = tl.where(pair < T_PAIRS, t, tl.where(pair < TY_PAIRS, y, x)) * PAIRS + pair
    cos = tl.load(table_ptr + at, mask=pair < PAIRS, other=0.0)
    sin = tl.load(table_ptr + P * PAIRS + at, mask=pair < PAIRS, other=0.0)
    return cos, sin


@triton.jit
def _forward(
    qk_ptr, weight_ptr, index_ptr, table_ptr, place_ptr, out_ptr, P, N, PAIRS, T_PAIRS, TY_PAIRS, qk_stride, eps,
    HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Some heads of a token, of its queries and keys."""
    token = tl.program_id(0).to(tl.int64)
    head = (tl.program_id(1) * HEADS + tl.arange(0, HEADS))[:, None]
    pair = tl.arange(0, BLOCK)[None, :]
    ok = (head < 2 * N) & (pair < PAIRS)
    at = head * 2 * PAIRS + pair
    a = tl.load(qk_ptr + token * qk_stride + at, mask=ok, other=0.0).to(tl.float32)
    b = tl.load(qk_ptr + token * qk_stride + at + PAIRS, mask=ok, other=0.0).to(tl.float32)
    factor = tl.div_rn(1.0, tl.sqrt_rn(tl.sum(a * a + b * b, 1, keep_dims=True) / (2 * PAIRS) + eps))
    weight_at = (tl.load(index_ptr + token) * 2 + head // N) * 2 * PAIRS + pair
    a *= factor * tl.load(weight_ptr + weight_at, mask=ok, other=0.0).to(tl.float32)
    b *= factor * tl.load(weight_ptr + weight_at + PAIRS, mask=ok, other=0.0).to(tl.float32)
    cos, sin = _cos_sin(table_ptr, place_ptr, token, P, PAIRS, T_PAIRS, TY_PAIRS, pair)
    out_ptr += token * 4 * N * PAIRS
    tl.store(out_ptr + at, a * cos - b * sin, mask=ok)
    tl.store(out_ptr + at + PAIRS, a * sin + b * cos, mask=ok)


@triton.jit
def _backward(
    dout_ptr, qk_ptr, weight_ptr, table_ptr, place_ptr, order_ptr, group_ptr, begin_ptr, end_ptr, dqk_ptr, sums_ptr,
    T, P, N, PAIRS, T_PAIRS, TY_PAIRS, qk_stride, eps, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Some heads of a tile: gradients of its tokens, and its sum for dweight (T, 2, K), one behind that of the heads
    before."""
    tile = tl.program_id(0).to(tl.int64)
    head = (tl.program_id(1) * HEADS + tl.arange(0, HEADS))[:, None]
    pair = tl.arange(0, BLOCK)[None, :]
    ok = (head < 2 * N) & (pair < PAIRS)
    at = head * 2 * PAIRS + pair
    weight_at = (tl.load(group_ptr + tile) * 2 + head // N) * 2 * PAIRS + pair
    weight_a = tl.load(weight_ptr + weight_at, mask=ok, other=0.0).to(tl.float32)
    weight_b = tl.load(weight_ptr + weight_at + PAIRS, mask=ok, other=0.0).to(tl.float32)
    sum_a = tl.zeros((HEADS, BLOCK), tl.float32)
    sum_b = tl.zeros((HEADS, BLOCK), tl.float32)
    place = tl.load(begin_ptr + tile)
    end = tl.load(end_ptr + tile)
    while place < end:
        token = tl.load(order_ptr + place).to(tl.int64)
        a = tl.load(qk_ptr + token * qk_stride + at, mask=ok, other=0.0).to(tl.float32)
        b = tl.load(qk_ptr + token * qk_stride + at + PAIRS, mask=ok, other=0.0).to(tl.float32)
        dout_a = tl.load(dout_ptr + token * 4 * N * PAIRS + at, mask=ok, other=0.0).to(tl.float32)
        dout_b = tl.load(dout_ptr + token * 4 * N * PAIRS + at + PAIRS, mask=ok, other=0.0).to(tl.float32)
        factor = tl.div_rn(1.0, tl.sqrt_rn(tl.sum(a * a + b * b, 1, keep_dims=True) / (2 * PAIRS) + eps))
        a *= factor
        b *= factor
        cos, sin = _cos_sin(table_ptr, place_ptr, token, P, PAIRS, T_PAIRS, TY_PAIRS, pair)
        da = dout_a * cos + dout_b * sin
        db = dout_b * cos - dout_a * sin
        sum_a += da * a
        sum_b += db * b
        da *= weight_a
        db *= weight_b
        mean = tl.sum(da * a + db * b, 1, keep_dims=True) / (2 * PAIRS)
        tl.store(dqk_ptr + token * 4 * N * PAIRS + at, (da - a * mean) * factor, mask=ok)
        tl.store(dqk_ptr + token * 4 * N * PAIRS + at + PAIRS, (db - b * mean) * factor, mask=ok)
        place += 1
    pair = tl.arange(0, BLOCK)
    sums_ptr += (tl.program_id(1) * T + tile) * 4 * PAIRS + pair
    for which in tl.static_range(2):  # queries, keys
        here = (head // N) == which
        tl.store(sums_ptr + which * 2 * PAIRS, tl.sum(tl.where(here, sum_a, 0.0), 0), mask=pair < PAIRS)
        tl.store(sums_ptr + which * 2 * PAIRS + PAIRS, tl.sum(tl.where(here, sum_b, 0.0), 0), mask=pair < PAIRS)


@operator("avctl::qk_norm_rope")
def _apply(
    qk: Tensor, weight: Tensor, index: Tensor, table: Tensor, place: Tensor, t_pairs: int, y_pairs: int, order: Tensor,
    tile_group: Tensor, tile_begin: Tensor, tile_end: Tensor, first_tile: Tensor,
) -> Tensor:  # fmt: skip
    """qk (S, 2, N, K), weight (G, 2, K), the group of each token (S,), `Rotation`, and `Tiles` for backward."""
    qk, weight, out = _by_tokens(qk), weight.contiguous(), torch.empty(qk.shape, dtype=qk.dtype, device=qk.device)
    if len(qk):
        sizes = _sizes(qk, table, t_pairs, y_pairs)
        grid = (len(qk), _chunks(qk))
        _forward[grid](qk, weight, index, table, place, out, *sizes, qk.stride(0), EPS, **_launch(qk))
    return out


@_apply.register_fake
def _(qk: Tensor, *_: object) -> Tensor:
    return qk.new_empty(qk.shape)


@operator("avctl::qk_norm_rope_backward")
def _apply_backward(
    dout: Tensor, qk: Tensor, weight: Tensor, table: Tensor, place: Tensor, t_pairs: int, y_pairs: int, order: Tensor,
    tile_group: Tensor, tile_begin: Tensor, tile_end: Tensor, first_tile: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """dqk (S, 2, N, K), and dweight (G, 2 K) float32."""
    dout, qk, weight = dout.contiguous(), _by_tokens(qk), weight.contiguous()
    T, dqk = len(tile_group), torch.empty(qk.shape, dtype=qk.dtype, device=qk.device)
    sums = torch.empty((_chunks(qk), T, 2 * qk.shape[-1]), dtype=torch.float32, device=qk.device)
    tiles = order, tile_group, tile_begin, tile_end
    sizes = T, *_sizes(qk, table, t_pairs, y_pairs)
    grid = (T, _chunks(qk))
    _backward[grid](dout, qk, weight, table, place, *tiles, dqk, sums, *sizes, qk.stride(0), EPS, **_launch(qk))
    return dqk, sum_tiles(sums, first_tile).sum(0)


@_apply_backward.register_fake
def _(dout: Tensor, qk: Tensor, weight: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return qk.new_empty(qk.shape), weight.new_empty((len(weight), 2 * qk.shape[-1]), dtype=torch.float32)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    qk, weight, _, table, place, *pairs_tiles = inputs
    *ctx.pairs, order, group, begin, end, first = pairs_tiles
    ctx.save_for_backward(qk, weight, table, place, order, group, begin, end, first)


def _differentiate(ctx, dout: Tensor) -> tuple:
    qk, weight, table, place, *tiles = ctx.saved_tensors
    dqk, dweight = _apply_backward(dout, qk, weight, table, place, *ctx.pairs, *tiles)
    return dqk, dweight.view(weight.shape).to(weight.dtype), *(None,) * (5 + len(Tiles._fields))


_apply.register_autograd(_differentiate, setup_context=_save)


def qk_norm_rope(qk: Tensor, weight: Tensor, groups: TokenGroups, turns: Rotation) -> Tensor:
    """qk (S, 2, N, K) queries and keys, weight (G, 2, K) -> (S, 2, N, K) in the format of qk.

    The tokens of qk may lie apart, as a view of packed queries, keys and values (S, 3, N, K) has them. ValueError for
    shapes, formats and devices that do not fit together.
    """
    _check(qk, weight, groups, turns)
    if groups.tiles is None or turns.cos_sin is not None or not runs_triton(qk, weight):
        cos_sin = of_tokens(turns.table, turns.place, turns.pairs) if turns.cos_sin is None else turns.cos_sin
        return qk_norm_rope_reference(qk, weight, groups.index, cos_sin)
    return _apply(qk, weight, groups.index, turns.table, turns.place, *turns.pairs, *groups.tiles)


def _check(qk: Tensor, weight: Tensor, groups: TokenGroups, turns: Rotation) -> None:
    if qk.ndim != 4 or qk.shape[1] != 2 or qk.shape[3] % 2:
        raise ValueError(f"qk {tuple(qk.shape)}: (tokens, 2, heads, an even number of channels) is needed")
    if weight.shape != (groups.num_groups, 2, qk.shape[3]):
        raise ValueError(f"weight {tuple(weight.shape)}: {(groups.num_groups, 2, qk.shape[3])} is needed")
    if not len(qk) == len(groups.index) == len(turns.place):
        raise ValueError(f"groups of {len(groups.index)} and places of {len(turns.place)} tokens for {len(qk)}")
    if 2 * turns.table.shape[-1] != qk.shape[3]:
        raise ValueError(f"{turns.table.shape[-1]} pairs are turned, and heads have {qk.shape[3]} channels")
    check_formats(qk=qk, weight=weight)


def _by_tokens(qk: Tensor) -> Tensor:
    """Queries and keys with those of a token side by side."""
    N, K = qk.shape[2:]
    return qk if qk.stride()[1:] == (N * K, K, 1) else qk.contiguous()


def _sizes(qk: Tensor, table: Tensor, t_pairs: int, y_pairs: int) -> tuple[int, int, int, int, int]:
    """P, N, and the pairs: all, those of t, those of t and y."""
    return table.shape[1], qk.shape[2], table.shape[2], t_pairs, t_pairs + y_pairs


def _launch(qk: Tensor) -> dict[str, int]:
    block = triton.next_power_of_2(qk.shape[3] // 2)
    heads = min(triton.next_power_of_2(2 * qk.shape[2]), max(1, NUMBERS // (2 * block)))
    return {"HEADS": heads, "BLOCK": block, "num_warps": max(1, min(16, heads * block * 2 // NUMBERS_A_WARP))}


def _chunks(qk: Tensor) -> int:
    """Programs that share the queries and keys of a token."""
    return triton.cdiv(2 * qk.shape[2], _launch(qk)["HEADS"])
