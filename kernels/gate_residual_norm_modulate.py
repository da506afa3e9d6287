"""From one branch to the next: `gate_residual`, and `norm_modulate` of its result, in one pass over the tokens.

    out[s] = x[s] + gate[g] * y[s],  h[s] = norm(out[s]) * scale[g] + shift[g],  g = group of token s

S tokens of a packed sequence, D channels, G groups. Eager PyTorch moves 11 S D numbers forward and 18 S D backward; the
kernels 4 S D and 6 S D. Backward computes out again from x and y, and with n = norm(out), dn = dh * scale[g]:

    dx = dout + gradient of norm(out) for dn (see `norm_modulate`),  dy = gate[g] * dx
    dgate[g] = sum over tokens of g of dx * y,  dscale[g] = sum of dh * n,  dshift[g] = sum of dh

Nothing but the inputs is saved.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avctl.kernels.dispatch import operator, runs_triton, tl, triton
from avctl.kernels.gate_residual import gate_residual_reference
from avctl.kernels.groups import Tiles, TokenGroups, sum_tiles
from avctl.kernels.norm_modulate import norm_modulate_reference
from avctl.kernels.rows import (
    EPS,
    Norm,
    by_rows,
    check_rows,
    check_tables,
    launch,
    load_rows,
    means,
    normal,
    normal_backward,
)

WIDE = 4_096  # channels of a row of which a program keeps all sums in registers


def gate_residual_norm_modulate_reference(
    x: Tensor, y: Tensor, gate: Tensor, scale: Tensor, shift: Tensor, index: Tensor, norm: Norm = "layer"
) -> tuple[Tensor, Tensor]:
    """What `gate_residual_norm_modulate` means. Tests and benches compare against this function and no other."""
    out = gate_residual_reference(x, y, gate, index)
    return out, norm_modulate_reference(out, scale, shift, index, norm)


@triton.jit
def _forward(
    x_ptr, y_ptr, gate_ptr, scale_ptr, shift_ptr, index_ptr, out_ptr, h_ptr, S, D,
    x_stride, y_stride, gate_stride, scale_stride, shift_stride, eps,
    LAYER: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    channel = tl.arange(0, BLOCK)[None, :]
    ok = (token < S) & (channel < D)
    group = tl.load(index_ptr + token, mask=token < S, other=0)
    x = load_rows(x_ptr, token, x_stride, channel, ok)
    y = load_rows(y_ptr, token, y_stride, channel, ok)
    out = x + load_rows(gate_ptr, group, gate_stride, channel, ok) * y
    place = token.to(tl.int64) * D + channel
    tl.store(out_ptr + place, out, mask=ok)
    out = out.to(out_ptr.dtype.element_ty).to(tl.float32)  # the norm is that of what was stored
    normalized, _, _ = normal(out, ok, D, eps, LAYER)
    scale = load_rows(scale_ptr, group, scale_stride, channel, ok)
    shift = load_rows(shift_ptr, group, shift_stride, channel, ok)
    tl.store(h_ptr + place, normalized * scale + shift, mask=ok)


@triton.jit
def _backward(
    dout_ptr, dh_ptr, x_ptr, y_ptr, gate_ptr, scale_ptr, order_ptr, group_ptr, begin_ptr, end_ptr,
    dx_ptr, dy_ptr, sums_ptr, T, D,
    dout_stride, dh_stride, x_stride, y_stride, gate_stride, scale_stride, eps,
    LAYER: tl.constexpr, PARTS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A tile: dx and dy of its tokens, and its sums for dgate, dscale and dshift, (T, D) each, one behind the other.

    A wide row's sums do not fit in the registers of a program: each of PARTS has its own channels, takes the means over
    all of them, and then loads its own again, from cache. The parts of a tile run at the same time: what one has loaded
    the other finds in the GPU's cache."""
    tile = tl.program_id(0).to(tl.int64) // PARTS
    OWN: tl.constexpr = BLOCK // PARTS
    own = (tl.program_id(0) % PARTS * OWN + tl.arange(0, OWN))[None, :]
    channel = tl.arange(0, BLOCK)[None, :]
    group = tl.load(group_ptr + tile)
    dgate = tl.zeros((ROWS, OWN), tl.float32)
    dscale = tl.zeros((ROWS, OWN), tl.float32)
    dshift = tl.zeros((ROWS, OWN), tl.float32)
    place = tl.load(begin_ptr + tile)
    end = tl.load(end_ptr + tile)
    while place < end:
        places = (place + tl.arange(0, ROWS))[:, None]
        token = tl.load(order_ptr + places, mask=places < end, other=0)
        ok = (places < end) & (channel < D)
        x = load_rows(x_ptr, token, x_stride, channel, ok)
        y = load_rows(y_ptr, token, y_stride, channel, ok)
        dh = load_rows(dh_ptr, token, dh_stride, channel, ok)
        if PARTS == 1:  # before the first sum over the row, which waits for what is loaded
            dout = load_rows(dout_ptr, token, dout_stride, channel, ok)
        gate = load_rows(gate_ptr, group, gate_stride, channel, channel < D)  # again: registers are few, caches near
        scale = load_rows(scale_ptr, group, scale_stride, channel, channel < D)
        out = (x + gate * y).to(dx_ptr.dtype.element_ty).to(tl.float32)
        normalized, centre, factor = normal(out, ok, D, eps, LAYER)
        along, mean = means(dh * scale, normalized, D, LAYER)
        if PARTS > 1:
            ok = (places < end) & (own < D)
            x = load_rows(x_ptr, token, x_stride, own, ok)
            y = load_rows(y_ptr, token, y_stride, own, ok)
            dh = load_rows(dh_ptr, token, dh_stride, own, ok)
            dout = load_rows(dout_ptr, token, dout_stride, own, ok)
            gate = load_rows(gate_ptr, group, gate_stride, own, own < D)
            scale = load_rows(scale_ptr, group, scale_stride, own, own < D)
            out = (x + gate * y).to(dx_ptr.dtype.element_ty).to(tl.float32)
            normalized = (out - centre) * factor
        dscale += dh * normalized
        dshift += dh
        dx = dout + normal_backward(dh * scale, normalized, factor, along, mean)
        dgate += dx * y
        at = token.to(tl.int64) * D + own
        tl.store(dx_ptr + at, dx, mask=ok)
        tl.store(dy_ptr + at, gate * dx, mask=ok)
        place += ROWS
    own = tl.program_id(0) % PARTS * OWN + tl.arange(0, OWN)
    tl.store(sums_ptr + tile * D + own, tl.sum(dgate, 0), mask=own < D)
    tl.store(sums_ptr + (T + tile) * D + own, tl.sum(dscale, 0), mask=own < D)
    tl.store(sums_ptr + (2 * T + tile) * D + own, tl.sum(dshift, 0), mask=own < D)


@operator("avctl::gate_residual_norm_modulate")
def _apply(
    x: Tensor, y: Tensor, gate: Tensor, scale: Tensor, shift: Tensor, index: Tensor, order: Tensor,
    tile_group: Tensor, tile_begin: Tensor, tile_end: Tensor, first_tile: Tensor, layer: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """x and y (S, D), gate, scale and shift (G, D), the group of each token (S,), and `Tiles`, which backward needs."""
    x, y, *tables = (by_rows(tensor) for tensor in (x, y, gate, scale, shift))
    (S, D), out = x.shape, torch.empty(x.shape, dtype=x.dtype, device=x.device)
    h = torch.empty(x.shape, dtype=scale.dtype, device=x.device)
    if S:
        blocks = launch(D)
        strides = (tensor.stride(0) for tensor in (x, y, *tables))
        grid = (triton.cdiv(S, blocks["ROWS"]),)
        _forward[grid](x, y, *tables, index, out, h, S, D, *strides, EPS, LAYER=layer, **blocks)
    return out, h


@_apply.register_fake
def _(x: Tensor, y: Tensor, gate: Tensor, scale: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return tuple(torch.empty(x.shape, dtype=like.dtype, device=x.device) for like in (x, scale))  # pyright: ignore[reportReturnType]


@operator("avctl::gate_residual_norm_modulate_backward")
def _apply_backward(
    dout: Tensor, dh: Tensor, x: Tensor, y: Tensor, gate: Tensor, scale: Tensor, order: Tensor, tile_group: Tensor,
    tile_begin: Tensor, tile_end: Tensor, first_tile: Tensor, layer: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dx and dy (S, D), and (3, G, D) float32: dgate, dscale and dshift."""
    D, T = x.shape[1], len(tile_group)
    dx, dy = (torch.empty(like.shape, dtype=like.dtype, device=like.device) for like in (x, y))
    sums = torch.empty((3, T, D), dtype=torch.float32, device=x.device)
    inputs = [by_rows(tensor) for tensor in (dout, dh, x, y, gate, scale)]
    strides = (tensor.stride(0) for tensor in inputs)
    tiles = order, tile_group, tile_begin, tile_end
    parts = 1 if D <= WIDE else 2
    _backward[(T * parts,)](*inputs, *tiles, dx, dy, sums, T, D, *strides, EPS, LAYER=layer, PARTS=parts, **launch(D))
    return dx, dy, sum_tiles(sums, first_tile)


@_apply_backward.register_fake
def _(
    dout: Tensor, dh: Tensor, x: Tensor, y: Tensor, gate: Tensor, scale: Tensor, *_: object
) -> tuple[Tensor, Tensor, Tensor]:
    dx, dy = (torch.empty(like.shape, dtype=like.dtype, device=like.device) for like in (x, y))
    return dx, dy, scale.new_empty((3, *scale.shape), dtype=torch.float32)


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    x, y, gate, scale, shift, _, *tiles, layer = inputs
    ctx.save_for_backward(x, y, gate, scale, *tiles)
    ctx.layer, ctx.formats = layer, (gate.dtype, scale.dtype, shift.dtype)


def _differentiate(ctx, dout: Tensor, dh: Tensor) -> tuple:
    dx, dy, totals = _apply_backward(dout, dh, *ctx.saved_tensors, ctx.layer)
    tables = (total.to(format) for total, format in zip(totals, ctx.formats, strict=True))
    return dx, dy, *tables, *(None,) * (2 + len(Tiles._fields))


_apply.register_autograd(_differentiate, setup_context=_save)


def gate_residual_norm_modulate(
    x: Tensor, y: Tensor, gate: Tensor, scale: Tensor, shift: Tensor, groups: TokenGroups, norm: Norm = "layer"
) -> tuple[Tensor, Tensor]:
    """x and y (S, D), gate, scale and shift (G, D) -> out (S, D) in the format of x, h (S, D) in that of scale.

    ValueError for shapes, formats and devices that do not fit together.
    """
    check_rows({"x": x, "y": y})
    tables = {"gate": gate, "scale": scale, "shift": shift}
    check_tables(x, tables, len(groups.index), groups.num_groups)
    if groups.tiles is None or not runs_triton(x, y, gate, scale, shift):
        return gate_residual_norm_modulate_reference(x, y, gate, scale, shift, groups.index, norm)
    return _apply(x, y, gate, scale, shift, groups.index, *groups.tiles, norm == "layer")
