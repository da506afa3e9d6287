"""Triton's interpreter multiplies the bits of bfloat16, and what is done about it."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from avctl.kernels import dot as module

N = 16


@triton.jit
def _product(a_ptr, b_ptr, c_ptr, UPCAST: tl.constexpr):
    place = tl.arange(0, 16)[:, None] * 16 + tl.arange(0, 16)[None, :]
    tl.store(c_ptr + place, module.dot(tl.load(a_ptr + place), tl.load(b_ptr + place), UPCAST))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("is_upcast", [False, True])
def test_products_in_the_interpreter_are_right_once_bfloat16_is_made_float32(
    dtype: torch.dtype, is_upcast: bool, interpreted: None
) -> None:
    a, b = torch.randn(2, N, N, generator=torch.Generator().manual_seed(0)).to(dtype)
    made = torch.empty(N, N)
    InterpretedFunction(_product.fn)[(1,)](a, b, made, UPCAST=is_upcast)
    is_right = torch.allclose(made, a.float() @ b.float(), atol=1e-5)
    assert is_right == (is_upcast or dtype != torch.bfloat16), "if Triton is right at last, `dot` is `tl.dot`"
