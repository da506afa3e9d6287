"""The activation between the two layers of an MLP (SwiGLU: Shazeer 2020).

    y = up * silu(opening),  up and opening the two halves of x,  silu(z) = z * sigmoid(z)

S tokens, x of 2 H channels. Eager PyTorch moves 5 S H numbers forward and 13 S H backward; the kernels 3 S H and 5 S H:

    dup = dy * silu(opening),  dopening = dy * up * sigmoid * (1 + opening * (1 - sigmoid))

Nothing but x is saved.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import silu

from avctl.kernels.dispatch import operator, runs_triton, tl, triton
from avctl.kernels.rows import by_rows, check_rows, load_rows

ROWS, BLOCK = 4, 512  # of a program, four warps of it


def swiglu_reference(x: Tensor) -> Tensor:
    """What `swiglu` means. Tests and benches compare against this function and no other."""
    up, opening = x.chunk(2, dim=-1)
    return up * silu(opening)


@triton.jit
def _forward(x_ptr, y_ptr, S, H, x_stride, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    token = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    channel = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[None, :]
    ok = (token < S) & (channel < H)
    up = load_rows(x_ptr, token, x_stride, channel, ok)
    opening = load_rows(x_ptr + H, token, x_stride, channel, ok)
    tl.store(y_ptr + token.to(tl.int64) * H + channel, up * opening * tl.sigmoid(opening), mask=ok)


@triton.jit
def _backward(dy_ptr, x_ptr, dx_ptr, S, H, dy_stride, x_stride, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    token = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    channel = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[None, :]
    ok = (token < S) & (channel < H)
    dy = load_rows(dy_ptr, token, dy_stride, channel, ok)
    up = load_rows(x_ptr, token, x_stride, channel, ok)
    opening = load_rows(x_ptr + H, token, x_stride, channel, ok)
    sigmoid = tl.sigmoid(opening)
    place = token.to(tl.int64) * 2 * H + channel
    tl.store(dx_ptr + place, dy * opening * sigmoid, mask=ok)
    tl.store(dx_ptr + H + place, dy * up * sigmoid * (1 + opening * (1 - sigmoid)), mask=ok)


@operator("avctl::swiglu")
def _apply(x: Tensor) -> Tensor:
    """x (S, 2 H)."""
    x = by_rows(x)
    S, H = x.shape[0], x.shape[1] // 2
    y = torch.empty((S, H), dtype=x.dtype, device=x.device)
    if S:
        _forward[_grid(S, H)](x, y, S, H, x.stride(0), ROWS=ROWS, BLOCK=BLOCK)
    return y


@_apply.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty((x.shape[0], x.shape[1] // 2))


@operator("avctl::swiglu_backward")
def _apply_backward(dy: Tensor, x: Tensor) -> Tensor:
    """dx (S, 2 H)."""
    dy, x = by_rows(dy), by_rows(x)
    S, H = dy.shape
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if S:
        _backward[_grid(S, H)](dy, x, dx, S, H, dy.stride(0), x.stride(0), ROWS=ROWS, BLOCK=BLOCK)
    return dx


@_apply_backward.register_fake
def _(dy: Tensor, x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _save(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, dy: Tensor) -> Tensor:
    return _apply_backward(dy, *ctx.saved_tensors)


_apply.register_autograd(_differentiate, setup_context=_save)


def swiglu(x: Tensor) -> Tensor:
    """x (S, 2 H) -> (S, H) in its format. ValueError where x is not of two halves."""
    check_rows({"x": x})
    if x.shape[1] % 2:
        raise ValueError(f"x {tuple(x.shape)}: an even number of channels is needed")
    return _apply(x) if runs_triton(x) else swiglu_reference(x)


def _grid(S: int, H: int) -> tuple[int, int]:
    return triton.cdiv(S, ROWS), triton.cdiv(H, BLOCK)
