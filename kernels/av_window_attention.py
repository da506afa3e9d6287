"""Softmax attention in windows: every query attends to the keys that live for it, as `windows` says.

    out[q] = sum over k of p[q, k] v[k],  p[q, k] = exp(s[q, k] - lse[q]),  s[q, k] = scale <q[q], k[k]>

S packed tokens, N heads of K channels. A query without a live key gives zeros, and gets zero gradients. Kernels go
through the blocks that are not dead: full ones need no mask, and that of partial ones is computed where it is needed.
Scores are kept on the chip (FlashAttention: Dao et al. 2022); lse[q], the logarithm of the sum of exp(s[q, k]), is
saved beside inputs and output. Backward, with ds[q, k] = p[q, k] (<dout[q], v[k]> - <dout[q], out[q]>):

    dq[q] = scale sum over k of ds[q, k] k[k],  dk[k] = scale sum over q of ds[q, k] q[q]
    dv[k] = sum over q of p[q, k] dout[q]

A pair takes 2 products of 2 K operations a head forward, and 5 backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from avctl.kernels import attention_choice, av_window_backward, av_window_processor
from avctl.kernels.av_window_tiles import (
    by_channels,
    constants,
    cuts,
    live_with,
    load_own,
    load_tile,
    place_of,
    store_tile,
    strides,
)
from avctl.kernels.dispatch import is_exported, operator, runs_triton, tl, triton
from avctl.kernels.dot import dot
from avctl.kernels.rows import check_formats
from avctl.kernels.windows import BlockMap, Blocks, count_live, live

LARGEST_K = 256


def av_window_attention_reference(q: Tensor, k: Tensor, v: Tensor, map: BlockMap, scale: float | None = None) -> Tensor:
    """What `av_window_attention` means. Tests and benches compare against this function and no other."""
    lives = live(map, slice(None), slice(None))  # S S
    scores = torch.einsum("qnk,snk->nqs", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    weights = scores.masked_fill(~lives, -torch.inf).softmax(-1).masked_fill(~lives, 0.0)
    return torch.einsum("nqs,snk->qnk", weights, v)


@triton.jit
def _attend(
    q, most, total, out, own, k_ptr, v_ptr, group_ptr, place_ptr, start, S, k_stride, v_stride, scale, rows, columns,
    K: tl.constexpr, CHANNELS: tl.constexpr, KEYS: tl.constexpr, IN_PLACE: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """With one more tile of keys, masked where there are facts of `own` tokens: the largest score, the sum of
    exponentials and of values (online softmax: Milakov and Gimelshein 2018)."""
    k = load_tile(k_ptr, start, k_stride, S, KEYS, K, CHANNELS, own is None)
    scores = dot(q, tl.trans(k), UPCAST)
    if own is not None:
        token = (start + tl.arange(0, KEYS))[None, :]
        lives = live_with(own, group_ptr, place_ptr, token, S, rows, columns, IN_PLACE)
        scores = tl.where(lives, scores, float("-inf"))
    largest = tl.maximum(most, tl.max(scores, 1) * scale)
    shift = largest
    if own is not None:
        shift = tl.where(largest == float("-inf"), 0.0, largest)  # no key so far
    weights = tl.exp2(scores * scale - shift[:, None])
    factor = tl.exp2(most - shift)
    v = load_tile(v_ptr, start, v_stride, S, KEYS, K, CHANNELS, own is None)
    out = out * factor[:, None] + dot(weights, v, UPCAST)
    return largest, total * factor + tl.sum(weights, 1), out


@triton.jit
def _forward(
    q_ptr, k_ptr, v_ptr, group_ptr, place_ptr, reach_ptr, index_ptr, count_ptr, out_ptr, lse_ptr, S, N, W,
    q_stride: tl.constexpr, q_head: tl.constexpr, k_stride: tl.constexpr, k_head: tl.constexpr,
    v_stride: tl.constexpr, v_head: tl.constexpr, scale, rows, columns, K: tl.constexpr, CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, IN_PLACE: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """A tile of queries of a head; `scale`, scores and their sums are for powers of 2."""
    start = tl.program_id(0) * QUERIES
    head = tl.program_id(1).to(tl.int64)
    q = load_tile(q_ptr + head * q_head, start, q_stride, S, QUERIES, K, CHANNELS, False)
    k_ptr += head * k_head
    v_ptr += head * v_head
    most = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    out = tl.zeros((QUERIES, CHANNELS), tl.float32)
    block = start // BLOCK
    index_ptr += block * W
    full = tl.load(count_ptr + 2 * block) * (BLOCK // KEYS)
    count = tl.load(count_ptr + 2 * block + 1) * (BLOCK // KEYS)
    for tile in tl.range(0, full):
        most, total, out = _attend(
            q, most, total, out, None, k_ptr, v_ptr, group_ptr, place_ptr, place_of(tile, index_ptr, BLOCK, KEYS), S,
            k_stride, v_stride, scale, rows, columns, K, CHANNELS, KEYS, IN_PLACE, UPCAST,
        )  # fmt: skip
    token = start + tl.arange(0, QUERIES)
    own = load_own(group_ptr, place_ptr, reach_ptr, token[:, None], S)
    for tile in tl.range(full, count):
        most, total, out = _attend(
            q, most, total, out, own, k_ptr, v_ptr, group_ptr, place_ptr, place_of(tile, index_ptr, BLOCK, KEYS), S,
            k_stride, v_stride, scale, rows, columns, K, CHANNELS, KEYS, IN_PLACE, UPCAST,
        )  # fmt: skip
    is_live = total > 0
    total = tl.where(is_live, total, 1.0)
    out *= tl.div_rn(1.0, total)[:, None]
    store_tile(out_ptr + head * K, out, start, N * K, S, QUERIES, K, CHANNELS)
    tl.store(lse_ptr + head * S + token, tl.where(is_live, most + tl.log2(total), float("inf")), mask=token < S)


def _launch(q: Tensor, k: Tensor, v: Tensor, map: BlockMap, scale: float) -> tuple[Tensor, Tensor]:
    """The output (S, N, K), and lse (N, S) for powers of 2: infinite without a live key."""
    S, N, K = q.shape
    out = torch.empty((S, N, K), dtype=q.dtype, device=q.device)
    lse = torch.empty((N, S), dtype=torch.float32, device=q.device)
    if S:
        made = constants(q, map, cuts(q, map).forward)
        _forward[(triton.cdiv(S, made["QUERIES"]), N)](
            q, k, v, map.group, map.place, map.reach, *map.by_query, out, lse, S, N, map.by_query.index.shape[1],
            *strides(q, k, v), scale / log(2), map.rows, map.columns, **made,
        )  # fmt: skip
    return out, lse


@operator("avctl::av_window_attention")
def _apply(
    q: Tensor, k: Tensor, v: Tensor, group: Tensor, place: Tensor, reach: Tensor, query_index: Tensor,
    query_count: Tensor, key_index: Tensor, key_count: Tensor, block: int, rows: float, columns: float, scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """q, k and v (S, N, K), and `BlockMap` -> the output (S, N, K), and lse (N, S) as who computed it keeps it."""
    map = _map(group, place, reach, query_index, query_count, key_index, key_count, block, rows, columns)
    attention_choice.note(f"windows ({'Triton' if runs_triton(q, k, v) else 'processor'})")
    attend = _launch if runs_triton(q, k, v) else av_window_processor.attend
    return attend(by_channels(q), by_channels(k), by_channels(v), map, scale)


@_apply.register_fake
def _(q: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    S, N, _ = q.shape
    return q.new_empty(q.shape), q.new_empty((N, S), dtype=av_window_processor.wide(q.dtype))


@operator("avctl::av_window_attention_backward")
def _apply_backward(
    dout: Tensor, out: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, group: Tensor, place: Tensor,
    reach: Tensor, query_index: Tensor, query_count: Tensor, key_index: Tensor, key_count: Tensor, block: int,
    rows: float, columns: float, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dq, dk and dv, each (S, N, K)."""
    map = _map(group, place, reach, query_index, query_count, key_index, key_count, block, rows, columns)
    differentiate = av_window_backward.launch if runs_triton(q, k, v) else av_window_processor.differentiate
    with torch.autocast(q.device.type, enabled=False):  # which is on where gradients are asked for inside
        return differentiate(by_channels(dout), out, lse, by_channels(q), by_channels(k), by_channels(v), map, scale)


@_apply_backward.register_fake
def _(dout: Tensor, out: Tensor, lse: Tensor, q: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), q.new_empty(q.shape), q.new_empty(q.shape)


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    *tensors, block, rows, columns, scale = inputs
    ctx.save_for_backward(*output, *tensors)
    ctx.numbers = block, rows, columns, scale


def _differentiate(ctx, dout: Tensor, dlse: Tensor | None) -> tuple:
    """Nobody is given lse, nor has a gradient of it."""
    return *_apply_backward(dout, *ctx.saved_tensors, *ctx.numbers), *(None,) * 11


_apply.register_autograd(_differentiate, setup_context=_save)


def flops(pairs: int, N: int, K: int) -> tuple[int, int]:
    """Operations of so many pairs in N heads of K channels, forward and backward."""
    return 4 * pairs * N * K, 10 * pairs * N * K


@register_flop_formula(torch.ops.avctl.av_window_attention, get_raw=True)
def _forward_flops(q: Tensor, k: Tensor, v: Tensor, *map: Any, **_: object) -> int:
    return flops(_pairs(map), *q.shape[1:])[0]


@register_flop_formula(torch.ops.avctl.av_window_attention_backward, get_raw=True)
def _backward_flops(
    dout: Tensor, out: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *map: Any, **_: object
) -> int:
    return flops(_pairs(map), *q.shape[1:])[1]


def _pairs(map: Sequence[Any]) -> int:
    """That live, for which the device is waited for; all of them in tensors that have no numbers."""
    group = map[0]
    is_known = type(group) is Tensor and group.device.type != "meta"
    return count_live(_map(*map[:-1])).pairs if is_known else len(group) ** 2


def av_window_attention(q: Tensor, k: Tensor, v: Tensor, map: BlockMap, scale: float | None = None) -> Tensor:
    """q, k and v (S, N, K) of one format -> (S, N, K); K up to 256, `scale` 1 / sqrt(K) unless it is given.

    Tokens and heads may lie apart, as those of packed queries, keys and values (S, 3, N, K) do. ValueError for shapes,
    formats and devices that do not fit together, and for a scale that is not positive.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    _check(q, k, v, map, scale)
    if is_exported():
        return av_window_attention_reference(q, k, v, map, scale)
    with torch.autocast(q.device.type, enabled=False):
        if q.device.type != "cpu" and not runs_triton(q, k, v):
            return av_window_attention_reference(q, k, v, map, scale)
        return _apply(q, k, v, *map[:3], *map.by_query, *map.by_key, *map[5:], scale)[0]


def _map(*fields: Any) -> BlockMap:
    """The fields of a map and of its blocks, as an operator takes them, a map again."""
    return BlockMap(*fields[:3], Blocks(*fields[3:5]), Blocks(*fields[5:7]), *fields[7:])


def _check(q: Tensor, k: Tensor, v: Tensor, map: BlockMap, scale: float) -> None:
    if q.ndim != 3 or not q.shape == k.shape == v.shape or not 0 < q.shape[-1] <= LARGEST_K:
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
        raise ValueError(f"q, k, v {shapes}: (tokens, heads, at most {LARGEST_K} channels) is needed, the same of all")
    if len(q) != len(map.group):
        raise ValueError(f"windows of {len(map.group)} tokens for {len(q)}")
    check_formats(q=q, k=k, v=v)
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q, k, v are of {q.dtype}, {k.dtype}, {v.dtype}: one format is needed")
    if q.device != map.group.device:
        raise ValueError(f"q, k, v are on {q.device}, their windows on {map.group.device}")
    if not scale > 0:
        raise ValueError(f"scale {scale}: a positive number is needed")
