"""Norm without weights, then scale and shift by the group of each token (adaLN: Peebles and Xie 2023).

    y[s] = norm(x[s]) * scale[g] + shift[g],  g = group of token s

    LayerNorm: norm(x) = (x - mean) / sqrt(var + eps);  RMSNorm: norm(x) = x / sqrt(mean(x^2) + eps)

S tokens of a packed sequence, D channels, G groups. Eager PyTorch moves 6 S D numbers forward and 10 S D backward; the
kernels 2 S D and 3 S D. Backward, with n = norm(x) and dn = dy * scale[g]:

    dx = (dn - mean(dn) - n * mean(dn * n)) / sqrt(var + eps)      (RMSNorm: without mean(dn))
    dscale[g] = sum over tokens of g of dy * n,  dshift[g] = sum of dy

Statistics are computed again in backward: nothing but the inputs is saved.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from avctl.kernels.dispatch import operator, runs_triton, tl, triton
from avctl.kernels.groups import Tiles, TokenGroups, sum_tiles
from avctl.kernels.rows import (
    EPS,
    Norm,
    by_rows,
    check_tables,
    launch,
    load_rows,
    means,
    normal,
    normal_backward,
    rms_normalize,
)


def norm_modulate_reference(x: Tensor, scale: Tensor, shift: Tensor, index: Tensor, norm: Norm = "layer") -> Tensor:
    """What `norm_modulate` means. Tests and benches compare against this function and no other."""
    normalized = layer_norm(x, x.shape[-1:], eps=EPS) if norm == "layer" else rms_normalize(x)
    return torch.addcmul(
        shift.index_select(0, index), normalized.to(scale.dtype), scale.index_select(0, index)
    )  # on a CPU the backward of `index_select` is several times as fast as that of indexing or of one-hot products


@triton.jit
def _forward(
    x_ptr, scale_ptr, shift_ptr, index_ptr, y_ptr, S, D, x_stride, scale_stride, shift_stride, eps,
    LAYER: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    channel = tl.arange(0, BLOCK)[None, :]
    ok = (token < S) & (channel < D)
    group = tl.load(index_ptr + token, mask=token < S, other=0)
    x, _, _ = normal(load_rows(x_ptr, token, x_stride, channel, ok), ok, D, eps, LAYER)
    scale = load_rows(scale_ptr, group, scale_stride, channel, ok)
    shift = load_rows(shift_ptr, group, shift_stride, channel, ok)
    tl.store(y_ptr + token.to(tl.int64) * D + channel, x * scale + shift, mask=ok)


@triton.jit
def _backward(
    dy_ptr, x_ptr, scale_ptr, order_ptr, group_ptr, begin_ptr, end_ptr, dx_ptr, sums_ptr, T, D,
    dy_stride, x_stride, scale_stride, eps, LAYER: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A tile: dx of its tokens, and its sums for dscale (T, D) and, behind all of them, for dshift (T, D)."""
    tile = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, BLOCK)[None, :]
    group = tl.load(group_ptr + tile)
    dscale = tl.zeros((ROWS, BLOCK), tl.float32)
    dshift = tl.zeros((ROWS, BLOCK), tl.float32)
    place = tl.load(begin_ptr + tile)
    end = tl.load(end_ptr + tile)
    while place < end:
        places = (place + tl.arange(0, ROWS))[:, None]
        token = tl.load(order_ptr + places, mask=places < end, other=0)
        ok = (places < end) & (channel < D)
        dy = load_rows(dy_ptr, token, dy_stride, channel, ok)
        x = load_rows(x_ptr, token, x_stride, channel, ok)
        scale = load_rows(scale_ptr, group, scale_stride, channel, channel < D)  # again: registers are few, caches near
        x, _, factor = normal(x, ok, D, eps, LAYER)
        dscale += dy * x
        dshift += dy
        along, mean = means(dy * scale, x, D, LAYER)
        dx = normal_backward(dy * scale, x, factor, along, mean)
        tl.store(dx_ptr + token.to(tl.int64) * D + channel, dx, mask=ok)
        place += ROWS
    channel = tl.arange(0, BLOCK)
    tl.store(sums_ptr + tile * D + channel, tl.sum(dscale, 0), mask=channel < D)
    tl.store(sums_ptr + (T + tile) * D + channel, tl.sum(dshift, 0), mask=channel < D)


@operator("avctl::norm_modulate")
def _apply(
    x: Tensor, scale: Tensor, shift: Tensor, index: Tensor, order: Tensor, tile_group: Tensor, tile_begin: Tensor,
    tile_end: Tensor, first_tile: Tensor, layer: bool,
) -> Tensor:  # fmt: skip
    """x (S, D), scale and shift (G, D), the group of each token (S,), and `Tiles`, which backward needs."""
    x, scale, shift = by_rows(x), by_rows(scale), by_rows(shift)
    (S, D), y = x.shape, torch.empty(x.shape, dtype=scale.dtype, device=x.device)
    if S:
        blocks = launch(D)
        strides = x.stride(0), scale.stride(0), shift.stride(0)
        grid = (triton.cdiv(S, blocks["ROWS"]),)
        _forward[grid](x, scale, shift, index, y, S, D, *strides, EPS, LAYER=layer, **blocks)
    return y


@_apply.register_fake
def _(x: Tensor, scale: Tensor, *_: object) -> Tensor:
    return torch.empty(x.shape, dtype=scale.dtype, device=x.device)


@operator("avctl::norm_modulate_backward")
def _apply_backward(
    dy: Tensor, x: Tensor, scale: Tensor, order: Tensor, tile_group: Tensor, tile_begin: Tensor, tile_end: Tensor,
    first_tile: Tensor, layer: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """dx (S, D), and (2, G, D) float32: dscale and dshift."""
    dy, x, scale = by_rows(dy), by_rows(x), by_rows(scale)
    D, T, dx = x.shape[1], len(tile_group), torch.empty(x.shape, dtype=x.dtype, device=x.device)
    sums = torch.empty((2, T, D), dtype=torch.float32, device=x.device)
    strides = dy.stride(0), x.stride(0), scale.stride(0)
    tiles = order, tile_group, tile_begin, tile_end
    _backward[(T,)](dy, x, scale, *tiles, dx, sums, T, D, *strides, EPS, LAYER=layer, **launch(D))
    return dx, sum_tiles(sums, first_tile)


@_apply_backward.register_fake
def _(dy: Tensor, x: Tensor, scale: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device), scale.new_empty((2, *scale.shape), dtype=torch.float32)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    x, scale, shift, _, *tiles, layer = inputs
    ctx.save_for_backward(x, scale, *tiles)
    ctx.layer, ctx.formats = layer, (scale.dtype, shift.dtype)


def _differentiate(ctx, dy: Tensor) -> tuple:
    dx, totals = _apply_backward(dy, *ctx.saved_tensors, ctx.layer)
    tables = (total.to(format) for total, format in zip(totals, ctx.formats, strict=True))
    return dx, *tables, *(None,) * (2 + len(Tiles._fields))


_apply.register_autograd(_differentiate, setup_context=_save)


def norm_modulate(x: Tensor, scale: Tensor, shift: Tensor, groups: TokenGroups, norm: Norm = "layer") -> Tensor:
    """x (S, D), scale and shift (G, D) -> (S, D) in the format of scale.

    ValueError for shapes, formats and devices that do not fit together.
    """
    check_tables(x, {"scale": scale, "shift": shift}, len(groups.index), groups.num_groups)
    if groups.tiles is None or not runs_triton(x, scale, shift):
        return norm_modulate_reference(x, scale, shift, groups.index, norm)
    return _apply(x, scale, shift, groups.index, *groups.tiles, norm == "layer")
