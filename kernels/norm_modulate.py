"""Norm without weights, then scale and shift by the group of each token (adaLN: Peebles and Xie 2023).

    y[n] = norm(x[n]) * scale[g] + shift[g],  g = group of token n

    LayerNorm: norm(x) = (x - mean) / sqrt(var + eps);  RMSNorm: norm(x) = x / sqrt(mean(x^2) + eps)

N tokens of a packed sequence, D channels, G groups. Eager PyTorch moves 6 N D numbers forward and 10 N D backward; the
kernels 2 N D and 3 N D. Backward, with n = norm(x) and dn = dy * scale[g]:

    dx = (dn - mean(dn) - n * mean(dn * n)) / sqrt(var + eps)      (RMSNorm: without mean(dn))
    dscale[g] = sum over tokens of g of dy * n,  dshift[g] = sum of dy

Statistics are computed again in backward: nothing but the inputs is saved. Sums over tokens are taken tile by tile, and
the tiles of a group in their order, so that they do not depend on who was first.
"""

from __future__ import annotations

from typing import Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

from avctl.kernels.dispatch import runs_triton
from avctl.kernels.groups import TokenGroups

Norm = Literal["layer", "rms"]
EPS = 1e-6


def norm_modulate_reference(x: Tensor, scale: Tensor, shift: Tensor, index: Tensor, norm: Norm = "layer") -> Tensor:
    """What `norm_modulate` means. Tests and benches compare against this function and no other."""
    centred = x - x.mean(-1, keepdim=True) if norm == "layer" else x
    normal = centred * (centred.square().mean(-1, keepdim=True) + EPS).rsqrt()
    return normal * scale[index] + shift[index]


@triton.jit
def _normal(x, ok, D, eps, LAYER: tl.constexpr):
    """Normalised x (BLOCK,) in float32, and what it was multiplied with."""
    if LAYER:
        x = tl.where(ok, x - tl.sum(x, 0) / D, 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, 0) / D + eps)
    return x * scale, scale


@triton.jit
def _forward(x_ptr, scale_ptr, shift_ptr, index_ptr, y_ptr, D, eps, LAYER: tl.constexpr, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)  # N D passes 2^31 in long sequences
    group = tl.load(index_ptr + token).to(tl.int64)
    channel = tl.arange(0, BLOCK)
    ok = channel < D
    x = tl.load(x_ptr + token * D + channel, mask=ok, other=0.0).to(tl.float32)
    normal, _ = _normal(x, ok, D, eps, LAYER)
    scale = tl.load(scale_ptr + group * D + channel, mask=ok, other=0.0).to(tl.float32)
    shift = tl.load(shift_ptr + group * D + channel, mask=ok, other=0.0).to(tl.float32)
    tl.store(y_ptr + token * D + channel, normal * scale + shift, mask=ok)


@triton.jit
def _backward(
    dy_ptr, x_ptr, scale_ptr, order_ptr, group_ptr, begin_ptr, end_ptr, dx_ptr, sums_ptr, T, D, eps,
    LAYER: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A tile: dx of its tokens, and its sums for dscale (T, D) and, behind all of them, for dshift (T, D)."""
    tile = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, BLOCK)
    ok = channel < D
    group = tl.load(group_ptr + tile).to(tl.int64)
    scale = tl.load(scale_ptr + group * D + channel, mask=ok, other=0.0).to(tl.float32)
    dscale = tl.zeros((BLOCK,), tl.float32)
    dshift = tl.zeros((BLOCK,), tl.float32)
    place = tl.load(begin_ptr + tile)
    end = tl.load(end_ptr + tile)
    while place < end:  # the interpreter of Triton 3.6 takes no tensor in `range`, with NumPy 2.4
        token = tl.load(order_ptr + place).to(tl.int64)
        x = tl.load(x_ptr + token * D + channel, mask=ok, other=0.0).to(tl.float32)
        dy = tl.load(dy_ptr + token * D + channel, mask=ok, other=0.0).to(tl.float32)
        normal, factor = _normal(x, ok, D, eps, LAYER)
        dscale += dy * normal
        dshift += dy
        dnormal = dy * scale
        dx = dnormal - normal * (tl.sum(dnormal * normal, 0) / D)
        if LAYER:
            dx -= tl.sum(dnormal, 0) / D
        tl.store(dx_ptr + token * D + channel, dx * factor, mask=ok)
        place += 1
    tl.store(sums_ptr + tile * D + channel, dscale, mask=ok)
    tl.store(sums_ptr + (T + tile) * D + channel, dshift, mask=ok)


@triton.jit
def _sum_tiles(sums_ptr, first_ptr, out_ptr, T, G, D, BLOCK: tl.constexpr):
    """The sums of all tiles of a group, one after the other, of dscale (G, D) and of dshift (G, D) behind it."""
    group = tl.program_id(0).to(tl.int64)
    which = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = channel < D
    total = tl.zeros((BLOCK,), tl.float32)
    tile = tl.load(first_ptr + group)
    end = tl.load(first_ptr + group + 1)
    while tile < end:
        total += tl.load(sums_ptr + (which * T + tile) * D + channel, mask=ok, other=0.0)
        tile += 1
    tl.store(out_ptr + (which * G + group) * D + channel, total, mask=ok)


@torch.library.custom_op("avctl::norm_modulate", mutates_args=())
def _apply(
    x: Tensor, scale: Tensor, shift: Tensor, index: Tensor, order: Tensor, tile_group: Tensor, tile_begin: Tensor,
    tile_end: Tensor, first_tile: Tensor, layer: bool,
) -> Tensor:  # fmt: skip
    """The packed tokens x (N, D); the rest as in `TokenGroups`, which backward needs."""
    (N, D), y = x.shape, torch.empty_like(x)
    if N:
        _forward[(N,)](x, scale, shift, index, y, D, EPS, LAYER=layer, **_launch(D))
    return y


@_apply.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("avctl::norm_modulate_backward", mutates_args=())
def _apply_backward(
    dy: Tensor, x: Tensor, scale: Tensor, order: Tensor, tile_group: Tensor, tile_begin: Tensor, tile_end: Tensor,
    first_tile: Tensor, layer: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """dx (N, D), and (2, G, D) float32: dscale and dshift."""
    D, T, G = x.shape[1], len(tile_group), len(scale)
    dx, sums, totals = torch.empty_like(x), _float32(x, 2, T, D), _float32(x, 2, G, D)
    launch = _launch(D)
    groups = (order, tile_group, tile_begin, tile_end)
    _backward[(T,)](dy, x, scale, *groups, dx, sums, T, D, EPS, LAYER=layer, **launch)
    block = min(launch["BLOCK"], 256)
    _sum_tiles[(G, triton.cdiv(D, block), 2)](sums, first_tile, totals, T, G, D, BLOCK=block)
    return dx, totals


@_apply_backward.register_fake
def _(dy: Tensor, x: Tensor, scale: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _float32(x, 2, *scale.shape)


def _save(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    x, scale, _, _, *groups, layer = inputs
    ctx.save_for_backward(x, scale, *groups)
    ctx.layer = layer  # pyright: ignore[reportAttributeAccessIssue]


def _differentiate(ctx, dy: Tensor) -> tuple:
    x, scale, *groups = ctx.saved_tensors
    dx, totals = _apply_backward(dy.contiguous(), x, scale, *groups, ctx.layer)
    dscale, dshift = totals.to(scale.dtype)
    return dx, dscale, dshift, *(None,) * 7


_apply.register_autograd(_differentiate, setup_context=_save)


def norm_modulate(x: Tensor, scale: Tensor, shift: Tensor, groups: TokenGroups, norm: Norm = "layer") -> Tensor:
    """x (N, D), scale and shift (G, D) -> (N, D) in the format of x. ValueError for what does not fit together."""
    _check(x, scale, shift, groups)
    if not runs_triton(x, scale, shift):
        return norm_modulate_reference(x, scale, shift, groups.index, norm).to(x.dtype)
    return _apply(x.contiguous(), scale.contiguous(), shift.contiguous(), *groups, norm == "layer")


def _check(x: Tensor, scale: Tensor, shift: Tensor, groups: TokenGroups) -> None:
    if x.ndim != 2 or scale.ndim != 2 or scale.shape != shift.shape or scale.shape[1] != x.shape[1]:
        raise ValueError(f"x {tuple(x.shape)}, scale {tuple(scale.shape)} and shift {tuple(shift.shape)} do not fit")
    if len(groups.index) != len(x) or len(groups.first_tile) != len(scale) + 1:
        raise ValueError(f"groups of {len(groups.index)} tokens in {len(groups.first_tile) - 1} for {len(x)} tokens")
    if len({tensor.device for tensor in (x, scale, shift, groups.index)}) > 1:
        raise ValueError("x, scale, shift and groups are on different devices")


def _launch(D: int) -> dict[str, int]:
    block = triton.next_power_of_2(D)
    return {"BLOCK": block, "num_warps": min(16, max(1, block // 512))}


def _float32(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=like.device)
