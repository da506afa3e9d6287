"""A step of Euler's method along the velocity under classifier-free guidance (Ho and Salimans 2022).

    output = unwanted + guidance (wanted - unwanted)
    x' = x + step velocity where a token is free, x where it is given
    predict "velocity": velocity = output;  "clean": velocity = (output - x) / max(1 - t, 1e-3)

S tokens of M numbers. The outputs of a network are guided before they are made a velocity, which is the same: the
weights of the two add up to 1. Three numbers are read for each of the tokens' and one is written. There is no gradient.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from avctl.kernels.dispatch import operator, runs_triton, tl, triton
from avctl.kernels.rows import check_one_a_token, check_rows, refuse_gradients

Predict = Literal["velocity", "clean"]
BLOCK = 2_048  # numbers of a program, wherever tokens end
LEAST_REMAINING = 1e-3  # of 1 - t, by which a clean estimate is divided


def guided_euler_step_reference(
    x: Tensor, wanted: Tensor, unwanted: Tensor | None, given: Tensor, guidance: float, t: float, step: float,
    predict: Predict,
) -> Tensor:  # fmt: skip
    """What `guided_euler_step` means. Tests and benches compare against this function and no other."""
    output = wanted.to(x.dtype)
    if unwanted is not None:
        output = torch.lerp(unwanted.to(x.dtype), output, guidance)
    velocity = output if predict == "velocity" else (output - x) / max(1 - t, LEAST_REMAINING)
    return torch.where(given[:, None] > 0, x, x + step * velocity)


@triton.jit
def _step(
    x_ptr, wanted_ptr, unwanted_ptr, given_ptr, moved_ptr, numbers, M, guidance, rate, CLEAN: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    first = tl.program_id(0).to(tl.int64) * BLOCK
    place = first + tl.arange(0, BLOCK)
    token = first // M + ((first % M).to(tl.int32) + tl.arange(0, BLOCK)) // M  # of 64 bits one division is enough
    ok = place < numbers
    x = tl.load(x_ptr + place, mask=ok, other=0.0).to(tl.float32)
    output = tl.load(wanted_ptr + place, mask=ok, other=0.0).to(tl.float32)
    if unwanted_ptr is not None:
        unwanted = tl.load(unwanted_ptr + place, mask=ok, other=0.0).to(tl.float32)
        output = unwanted + guidance * (output - unwanted)
    if CLEAN:
        output -= x
    is_given = tl.load(given_ptr + token, mask=ok, other=1.0) > 0
    tl.store(moved_ptr + place, tl.where(is_given, x, x + rate * output), mask=ok)


@operator("avctl::guided_euler_step")
def _apply(
    x: Tensor, wanted: Tensor, unwanted: Tensor | None, given: Tensor, guidance: float, rate: float, is_clean: bool
) -> Tensor:
    """rate: what the output, or its difference to x if it `is_clean`, is multiplied with."""
    x, wanted, given = x.contiguous(), wanted.contiguous(), given.contiguous()
    unwanted = unwanted.contiguous() if unwanted is not None else None
    moved = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if x.numel():
        tensors, grid = (x, wanted, unwanted, given, moved), (triton.cdiv(x.numel(), BLOCK),)
        _step[grid](*tensors, x.numel(), x.shape[1], guidance, rate, CLEAN=is_clean, BLOCK=BLOCK)
    return moved


@_apply.register_fake
def _(x: Tensor, *_: object) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def guided_euler_step(
    x: Tensor, wanted: Tensor, unwanted: Tensor | None, given: Tensor, guidance: float, t: float, step: float,
    predict: Predict,
) -> Tensor:  # fmt: skip
    """x at t + step, from x (S, M) at t and what the network says there: wanted, and unwanted (None: `guidance` is 1),
    both of the shape of x; given (S,) is 1 where x stays.

    ValueError for shapes, formats and devices that do not fit together, for what requires a gradient, and for guidance
    without anything to lead away from.
    """
    outputs = {"wanted": wanted} if unwanted is None else {"wanted": wanted, "unwanted": unwanted}
    check_rows({"x": x, **outputs})
    check_one_a_token(x, given=given)
    refuse_gradients(x=x, given=given, **outputs)
    if unwanted is None and guidance != 1:
        raise ValueError(f"guidance {guidance}: without `unwanted` it is 1")
    if not runs_triton(x, given, *outputs.values()):
        return guided_euler_step_reference(x, wanted, unwanted, given, guidance, t, step, predict)
    is_clean = predict == "clean"
    rate = step / max(1 - t, LEAST_REMAINING) if is_clean else step
    return _apply(x, wanted, unwanted, given, guidance, rate, is_clean)
