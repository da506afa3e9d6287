"""The gradients of `av_window_attention`: a kernel by tiles of queries, and one by tiles of keys.

Weights are computed again from scores and lse. No program adds to what another one wrote: gradients are the same in
every run.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from avctl.kernels.av_window_tiles import (
    constants,
    cuts,
    live_with,
    load_own,
    load_tile,
    place_of,
    store_tile,
    strides,
)
from avctl.kernels.dispatch import tl, triton
from avctl.kernels.dot import dot
from avctl.kernels.windows import BlockMap


@triton.jit
def _add_keys(
    q, dout, dq, lse, delta, own, k_ptr, v_ptr, group_ptr, place_ptr, start, S, k_stride, v_stride, scale, rows,
    columns, K: tl.constexpr, CHANNELS: tl.constexpr, KEYS: tl.constexpr, IN_PLACE: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """dq (QUERIES, CHANNELS) with one more tile of keys, masked where there are facts of `own` queries."""
    k = load_tile(k_ptr, start, k_stride, S, KEYS, K, CHANNELS, own is None)
    v = load_tile(v_ptr, start, v_stride, S, KEYS, K, CHANNELS, own is None)
    weights = tl.exp2(dot(q, tl.trans(k), UPCAST) * scale - lse[:, None])
    if own is not None:
        token = (start + tl.arange(0, KEYS))[None, :]
        weights = tl.where(live_with(own, group_ptr, place_ptr, token, S, rows, columns, IN_PLACE), weights, 0.0)
    dscores = weights * (dot(dout, tl.trans(v), UPCAST) - delta[:, None])
    return dq + dot(dscores, k, UPCAST)


@triton.jit
def _by_queries(
    dout_ptr, q_ptr, k_ptr, v_ptr, group_ptr, place_ptr, reach_ptr, index_ptr, count_ptr, out_ptr, lse_ptr, dq_ptr,
    delta_ptr, S, N, W, dout_stride: tl.constexpr, dout_head: tl.constexpr, q_stride: tl.constexpr,
    q_head: tl.constexpr, k_stride: tl.constexpr, k_head: tl.constexpr, v_stride: tl.constexpr, v_head: tl.constexpr,
    scale, dscale, rows, columns, K: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr, QUERIES: tl.constexpr,
    KEYS: tl.constexpr, IN_PLACE: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """A tile of queries of a head: dq, and delta (N, S), which is <dout, out> of each query."""
    start = tl.program_id(0) * QUERIES
    head = tl.program_id(1).to(tl.int64)
    token = start + tl.arange(0, QUERIES)
    dout = load_tile(dout_ptr + head * dout_head, start, dout_stride, S, QUERIES, K, CHANNELS, False)
    out = load_tile(out_ptr + head * K, start, N * K, S, QUERIES, K, CHANNELS, False)
    delta = tl.sum(dout.to(tl.float32) * out.to(tl.float32), 1)
    tl.store(delta_ptr + head * S + token, delta, mask=token < S)
    lse = tl.load(lse_ptr + head * S + token, mask=token < S, other=float("inf"))
    q = load_tile(q_ptr + head * q_head, start, q_stride, S, QUERIES, K, CHANNELS, False)
    k_ptr += head * k_head
    v_ptr += head * v_head
    dq = tl.zeros((QUERIES, CHANNELS), tl.float32)
    block = start // BLOCK
    index_ptr += block * W
    full = tl.load(count_ptr + 2 * block) * (BLOCK // KEYS)
    count = tl.load(count_ptr + 2 * block + 1) * (BLOCK // KEYS)
    for tile in tl.range(0, full):
        dq = _add_keys(
            q, dout, dq, lse, delta, None, k_ptr, v_ptr, group_ptr, place_ptr, place_of(tile, index_ptr, BLOCK, KEYS),
            S, k_stride, v_stride, scale, rows, columns, K, CHANNELS, KEYS, IN_PLACE, UPCAST,
        )  # fmt: skip
    own = load_own(group_ptr, place_ptr, reach_ptr, token[:, None], S)
    for tile in tl.range(full, count):
        dq = _add_keys(
            q, dout, dq, lse, delta, own, k_ptr, v_ptr, group_ptr, place_ptr, place_of(tile, index_ptr, BLOCK, KEYS),
            S, k_stride, v_stride, scale, rows, columns, K, CHANNELS, KEYS, IN_PLACE, UPCAST,
        )  # fmt: skip
    store_tile(dq_ptr + head * K, dq * dscale, start, N * K, S, QUERIES, K, CHANNELS)


@triton.jit
def _add_queries(
    k, v, dk, dv, own, dout_ptr, q_ptr, lse_ptr, delta_ptr, group_ptr, place_ptr, start, S, dout_stride, q_stride,
    scale, rows, columns, K: tl.constexpr, CHANNELS: tl.constexpr, QUERIES: tl.constexpr, IN_PLACE: tl.constexpr,
    UPCAST: tl.constexpr,
):  # fmt: skip
    """dk and dv (KEYS, CHANNELS) with one more tile of queries, masked where there are facts of `own` keys."""
    token = start + tl.arange(0, QUERIES)
    q = load_tile(q_ptr, start, q_stride, S, QUERIES, K, CHANNELS, own is None)
    lse = tl.load(lse_ptr + token, mask=token < S, other=float("inf"))
    weights = tl.exp2(dot(k, tl.trans(q), UPCAST) * scale - lse[None, :])
    if own is not None:
        lives = live_with(own, group_ptr, place_ptr, token[None, :], S, rows, columns, IN_PLACE)
        weights = tl.where(lives, weights, 0.0)
    dout = load_tile(dout_ptr, start, dout_stride, S, QUERIES, K, CHANNELS, own is None)
    dv += dot(weights, dout, UPCAST)
    delta = tl.load(delta_ptr + token, mask=token < S, other=0.0)
    dscores = weights * (dot(v, tl.trans(dout), UPCAST) - delta[None, :])
    return dk + dot(dscores, q, UPCAST), dv


@triton.jit
def _by_keys(
    dout_ptr, q_ptr, k_ptr, v_ptr, group_ptr, place_ptr, reach_ptr, index_ptr, count_ptr, lse_ptr, delta_ptr, dk_ptr,
    dv_ptr, S, N, W, dout_stride: tl.constexpr, dout_head: tl.constexpr, q_stride: tl.constexpr, q_head: tl.constexpr,
    k_stride: tl.constexpr, k_head: tl.constexpr, v_stride: tl.constexpr, v_head: tl.constexpr, scale, dscale, rows,
    columns, K: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
    IN_PLACE: tl.constexpr, UPCAST: tl.constexpr,
):  # fmt: skip
    """A tile of keys of a head: dk and dv."""
    start = tl.program_id(0) * KEYS
    head = tl.program_id(1).to(tl.int64)
    k = load_tile(k_ptr + head * k_head, start, k_stride, S, KEYS, K, CHANNELS, False)
    v = load_tile(v_ptr + head * v_head, start, v_stride, S, KEYS, K, CHANNELS, False)
    dout_ptr += head * dout_head
    q_ptr += head * q_head
    lse_ptr += head * S
    delta_ptr += head * S
    dk = tl.zeros((KEYS, CHANNELS), tl.float32)
    dv = tl.zeros((KEYS, CHANNELS), tl.float32)
    block = start // BLOCK
    index_ptr += block * W
    full = tl.load(count_ptr + 2 * block) * (BLOCK // QUERIES)
    count = tl.load(count_ptr + 2 * block + 1) * (BLOCK // QUERIES)
    for tile in tl.range(0, full):
        dk, dv = _add_queries(
            k, v, dk, dv, None, dout_ptr, q_ptr, lse_ptr, delta_ptr, group_ptr, place_ptr,
            place_of(tile, index_ptr, BLOCK, QUERIES), S, dout_stride, q_stride, scale, rows, columns, K, CHANNELS,
            QUERIES, IN_PLACE, UPCAST,
        )  # fmt: skip
    own = load_own(group_ptr, place_ptr, reach_ptr + 3 * S, (start + tl.arange(0, KEYS))[:, None], S)
    for tile in tl.range(full, count):
        dk, dv = _add_queries(
            k, v, dk, dv, own, dout_ptr, q_ptr, lse_ptr, delta_ptr, group_ptr, place_ptr,
            place_of(tile, index_ptr, BLOCK, QUERIES), S, dout_stride, q_stride, scale, rows, columns, K, CHANNELS,
            QUERIES, IN_PLACE, UPCAST,
        )  # fmt: skip
    store_tile(dk_ptr + head * K, dk * dscale, start, N * K, S, KEYS, K, CHANNELS)
    store_tile(dv_ptr + head * K, dv, start, N * K, S, KEYS, K, CHANNELS)


def launch(
    dout: Tensor, out: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, map: BlockMap, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """dq, dk and dv, each (S, N, K)."""
    S, N, K = q.shape
    dq, dk, dv = (torch.empty((S, N, K), dtype=q.dtype, device=q.device) for _ in range(3))
    delta = torch.empty((N, S), dtype=torch.float32, device=q.device)
    if not S:
        return dq, dk, dv
    tensors = dout, q, k, v, map.group, map.place, map.reach
    numbers = *strides(dout, q, k, v), scale / log(2), scale, map.rows, map.columns
    W = map.by_query.index.shape[1]
    made = constants(q, map, cuts(q, map).queries)
    _by_queries[(triton.cdiv(S, made["QUERIES"]), N)](
        *tensors, *map.by_query, out, lse, dq, delta, S, N, W, *numbers, **made
    )
    made = constants(q, map, cuts(q, map).keys)
    _by_keys[(triton.cdiv(S, made["KEYS"]), N)](*tensors, *map.by_key, lse, delta, dk, dv, S, N, W, *numbers, **made)
    return dq, dk, dv
