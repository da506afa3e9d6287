"""What kernels over rows of D channels share: norms on the chip, and how many rows a program takes.

A program holds a block of (ROWS, BLOCK) numbers, BLOCK the next power of two of D: one row where D is wide, several
where it is narrow, so that there is always enough to read at once.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from avctl.kernels.dispatch import tl, triton

Norm = Literal["layer", "rms"]
EPS = 1e-6
NUMBERS = 2_048  # of a block, where rows are narrower
NUMBERS_A_WARP = 512


def rms_normalize(x: Tensor) -> Tensor:
    """x / rms(x) over the last axis (Zhang and Sennrich 2019); on a CPU faster than PyTorch's own in bfloat16."""
    return x * (x.square().mean(-1, keepdim=True) + EPS).rsqrt()


@triton.jit
def normal(x, ok, D, eps, LAYER: tl.constexpr):
    """Normalised rows x (ROWS, BLOCK) float32; what was taken from them, and what they were then multiplied with, both
    (ROWS, 1)."""
    mean = tl.sum(x, 1, keep_dims=True) / D if LAYER else 0.0
    x = tl.where(ok, x - mean, 0.0)
    factor = tl.div_rn(1.0, tl.sqrt_rn(tl.sum(x * x, 1, keep_dims=True) / D + eps))
    return x * factor, mean, factor


@triton.jit
def means(dnormal, normal, D, LAYER: tl.constexpr):
    """Those of dnormal * normal and of dnormal over rows, (ROWS, 1) each: warps wait for each other once for both."""
    if LAYER:
        along, mean = tl.split(tl.sum(tl.join(dnormal * normal, dnormal), 1) / D)
        return along[:, None], mean[:, None]
    else:
        return tl.sum(dnormal * normal, 1, keep_dims=True) / D, 0.0


@triton.jit
def normal_backward(dnormal, normal, factor, along, mean):
    """Gradient of x of `normal` from that of its result, and from their `means`."""
    return (dnormal - normal * along - mean) * factor


@triton.jit
def load_rows(ptr, rows, stride, channel, ok):
    """Rows of a tensor, in float32: rows (ROWS, 1), channel (1, BLOCK)."""
    return tl.load(ptr + rows.to(tl.int64) * stride + channel, mask=ok, other=0.0).to(tl.float32)


def launch(D: int) -> dict[str, int]:
    """ROWS, BLOCK and num_warps of a kernel over rows of D channels."""
    block = triton.next_power_of_2(D)
    rows = max(1, NUMBERS // block)
    return {"ROWS": rows, "BLOCK": block, "num_warps": min(16, max(1, rows * block // NUMBERS_A_WARP))}


def by_rows(x: Tensor) -> Tensor:
    """The tensor with its channels side by side, which is how kernels read rows."""
    return x if x.stride(-1) == 1 else x.contiguous()


def check_rows(rows: dict[str, Tensor]) -> None:
    """ValueError unless all are (S, D), on one device, and of floating-point numbers."""
    shapes = {name: tuple(x.shape) for name, x in rows.items()}
    first, *others = shapes.values()
    if len(first) != 2 or any(other != first for other in others):
        raise ValueError(f"{shapes}: (tokens, channels) is needed, the same of all")
    check_formats(**rows)


def check_tables(x: Tensor, tables: dict[str, Tensor], num_tokens: int, num_groups: int) -> None:
    """ValueError unless x is (S, D), all tables (G, D), the groups of S tokens in G, and all fit together."""
    check_rows({"x": x})
    if num_tokens != len(x):
        raise ValueError(f"groups of {num_tokens} tokens for {len(x)}")
    for name, table in tables.items():
        if table.shape != (num_groups, x.shape[1]):
            raise ValueError(f"{name} {tuple(table.shape)}: {(num_groups, x.shape[1])} is needed")
    check_formats(x=x, **tables)


def check_formats(**tensors: Tensor) -> None:
    """ValueError unless all are on one device and of floating-point numbers."""
    if len({tensor.device for tensor in tensors.values()}) > 1:
        raise ValueError(f"{', '.join(tensors)} are on different devices")
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            raise ValueError(f"{name} is of {tensor.dtype}: floating-point numbers are needed")


def check_one_a_token(like: Tensor, **values: Tensor) -> None:
    """ValueError unless all are (S,) floating-point numbers, on the device of like (S, M)."""
    for name, each in values.items():
        if each.shape != like.shape[:1]:
            raise ValueError(f"{name} {tuple(each.shape)}: one a token is needed, {tuple(like.shape[:1])}")
    check_formats(**values, tokens=like)


def refuse_gradients(**tensors: Tensor) -> None:
    """ValueError where a gradient would be lost."""
    for name, tensor in tensors.items():
        if tensor.requires_grad and torch.is_grad_enabled():
            raise ValueError(f"{name} requires a gradient, and there is none")
