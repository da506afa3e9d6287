"""The end of a branch: its output, gated by the group of each token, is added to the residual stream.

    out[s] = x[s] + gate[g] * y[s],  g = group of token s

S tokens of a packed sequence, D channels, G groups. Eager PyTorch moves 5 S D numbers forward, the kernel 3 S D.

    dx = dout,  dy[s] = gate[g] * dout[s],  dgate[g] = sum over tokens of g of dout * y

Backward reads dout and y and writes dy, 3 S D; dx is dout itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avctl.kernels.dispatch import operator, runs_triton, tl, triton
from avctl.kernels.groups import Tiles, TokenGroups, sum_tiles
from avctl.kernels.rows import by_rows, check_rows, check_tables, launch, load_rows


def gate_residual_reference(x: Tensor, y: Tensor, gate: Tensor, index: Tensor) -> Tensor:
    """What `gate_residual` means. Tests and benches compare against this function and no other."""
    return torch.addcmul(x, gate.index_select(0, index), y).to(x.dtype)


@triton.jit
def _forward(
    x_ptr, y_ptr, gate_ptr, index_ptr, out_ptr, S, D, x_stride, y_stride, gate_stride,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    token = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    channel = tl.arange(0, BLOCK)[None, :]
    ok = (token < S) & (channel < D)
    group = tl.load(index_ptr + token, mask=token < S, other=0)
    x = load_rows(x_ptr, token, x_stride, channel, ok)
    y = load_rows(y_ptr, token, y_stride, channel, ok)
    gate = load_rows(gate_ptr, group, gate_stride, channel, ok)
    tl.store(out_ptr + token.to(tl.int64) * D + channel, x + gate * y, mask=ok)


@triton.jit
def _backward(
    dout_ptr, y_ptr, gate_ptr, order_ptr, group_ptr, begin_ptr, end_ptr, dy_ptr, sums_ptr, D,
    dout_stride, y_stride, gate_stride, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A tile: dy of its tokens, and its sum for dgate (T, D)."""
    tile = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, BLOCK)[None, :]
    gate = load_rows(gate_ptr, tl.load(group_ptr + tile), gate_stride, channel, channel < D)
    dgate = tl.zeros((ROWS, BLOCK), tl.float32)
    place = tl.load(begin_ptr + tile)
    end = tl.load(end_ptr + tile)
    while place < end:
        places = (place + tl.arange(0, ROWS))[:, None]
        token = tl.load(order_ptr + places, mask=places < end, other=0)
        ok = (places < end) & (channel < D)
        dout = load_rows(dout_ptr, token, dout_stride, channel, ok)
        dgate += dout * load_rows(y_ptr, token, y_stride, channel, ok)
        tl.store(dy_ptr + token.to(tl.int64) * D + channel, gate * dout, mask=ok)
        place += ROWS
    channel = tl.arange(0, BLOCK)
    tl.store(sums_ptr + tile * D + channel, tl.sum(dgate, 0), mask=channel < D)


@operator("avctl::gate_residual")
def _apply(
    x: Tensor, y: Tensor, gate: Tensor, index: Tensor, order: Tensor, tile_group: Tensor, tile_begin: Tensor,
    tile_end: Tensor, first_tile: Tensor,
) -> Tensor:  # fmt: skip
    """x and y (S, D), gate (G, D), the group of each token (S,), and `Tiles`, which backward needs."""
    x, y, gate = by_rows(x), by_rows(y), by_rows(gate)
    (S, D), out = x.shape, torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if S:
        blocks = launch(D)
        strides = x.stride(0), y.stride(0), gate.stride(0)
        _forward[(triton.cdiv(S, blocks["ROWS"]),)](x, y, gate, index, out, S, D, *strides, **blocks)
    return out


@_apply.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@operator("avctl::gate_residual_backward")
def _apply_backward(
    dout: Tensor, y: Tensor, gate: Tensor, order: Tensor, tile_group: Tensor, tile_begin: Tensor, tile_end: Tensor,
    first_tile: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """dy (S, D), and dgate (G, D) float32."""
    dout, y, gate = by_rows(dout), by_rows(y), by_rows(gate)
    D, T, dy = y.shape[1], len(tile_group), torch.empty(y.shape, dtype=y.dtype, device=y.device)
    sums = torch.empty((1, T, D), dtype=torch.float32, device=y.device)
    strides = dout.stride(0), y.stride(0), gate.stride(0)
    _backward[(T,)](dout, y, gate, order, tile_group, tile_begin, tile_end, dy, sums, D, *strides, **launch(D))
    return dy, sum_tiles(sums, first_tile)[0]


@_apply_backward.register_fake
def _(dout: Tensor, y: Tensor, gate: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return torch.empty(y.shape, dtype=y.dtype, device=y.device), gate.new_empty(gate.shape, dtype=torch.float32)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    _, y, gate, _, *tiles = inputs
    ctx.save_for_backward(y, gate, *tiles)


def _differentiate(ctx, dout: Tensor) -> tuple:
    y, gate, *tiles = ctx.saved_tensors
    dy, dgate = _apply_backward(dout, y, gate, *tiles)
    return dout, dy, dgate.to(gate.dtype), *(None,) * (1 + len(Tiles._fields))


_apply.register_autograd(_differentiate, setup_context=_save)


def gate_residual(x: Tensor, y: Tensor, gate: Tensor, groups: TokenGroups) -> Tensor:
    """x and y (S, D), gate (G, D) -> (S, D) in the format of x.

    ValueError for shapes, formats and devices that do not fit together.
    """
    check_rows({"x": x, "y": y})
    check_tables(x, {"gate": gate}, len(groups.index), groups.num_groups)
    if groups.tiles is None or not runs_triton(x, y, gate):
        return gate_residual_reference(x, y, gate, groups.index)
    return _apply(x, y, gate, groups.index, *groups.tiles)
