"""SwiGLU: the kernels against the reference in float64, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avctl.kernels import swiglu as module
from avctl.kernels.swiglu import BLOCK, ROWS, swiglu, swiglu_reference


def case(tokens: int, hidden: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return 4 * torch.randn(tokens, 2 * hidden, generator=torch.Generator().manual_seed(tokens)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (ROWS, BLOCK), (ROWS + 1, BLOCK + 3), (30, 100)])
def test_it_is_the_reference_forward_and_backward(
    shape: tuple[int, int], dtype: torch.dtype, interpreted: None, guarded: None, as_exact_as_eager
) -> None:
    as_exact_as_eager(swiglu, swiglu_reference, [case(*shape, dtype)])


def test_large_numbers_do_not_overflow(interpreted: None) -> None:
    x = torch.tensor([[1.0, 1.0, 1e4, -1e4]], requires_grad=True)
    y = swiglu(x)
    assert torch.equal(y, torch.tensor([[1e4, 0.0]]))
    assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()


def test_no_tokens_have_no_output(interpreted: None) -> None:
    x = torch.empty(0, 8, requires_grad=True)
    y = swiglu(x)
    assert y.shape == (0, 4) and torch.autograd.grad(y.sum(), x)[0].shape == (0, 8)


def test_rows_that_are_apart_are_read_as_they_are(interpreted: None) -> None:
    x = case(9, 20)
    expected = swiglu_reference(x)
    for apart in (torch.stack([x, x + 1], 1)[:, 0], x.T.contiguous().T):
        assert torch.allclose(swiglu(apart), expected, atol=1e-5)


def test_rows_that_are_apart_have_the_same_gradients(interpreted: None, reads_rows_apart) -> None:
    reads_rows_apart(swiglu, [case(9, 20)])


def test_it_is_an_operator_that_compiles_whole(interpreted: None, compiles_whole) -> None:
    torch.library.opcheck(module._apply, (case(5, 6).requires_grad_(),))
    compiles_whole(lambda x: swiglu(x).sin(), [case(5, 6)])


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(3, 5), r"x \(3, 5\): an even number of channels"),
        (torch.zeros(2, 3, 4), r"\(2, 3, 4\)\}: \(tokens, channels\) is needed"),
        (torch.zeros(3, 4, dtype=torch.uint8), "x is of torch.uint8"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(x: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        swiglu(x)
