"""The gated residual: the kernels against the reference in float64, forward and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from avctl.kernels import gate_residual as module
from avctl.kernels.gate_residual import gate_residual, gate_residual_reference
from avctl.kernels.groups import TokenGroups, token_groups

SHAPES = [(70, 48, 3), (1, 7, 1), (33, 130, 5), (18, 1_030, 2)]  # S, D, G; the last group is empty


def case(shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor]:
    """x, y and gate, and the groups of tokens in any order."""
    tokens, width, groups = shape
    generator = torch.Generator().manual_seed(sum(shape))
    index = torch.randint(0, max(1, groups - 1), (tokens,), generator=generator)
    sizes = ((tokens, width), (tokens, width), (groups, width))
    return [torch.randn(size, generator=generator).to(dtype) for size in sizes], index


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_reference_forward_and_backward(
    shape: tuple[int, int, int], dtype: torch.dtype, interpreted: None, guarded: None, as_exact_as_eager
) -> None:
    inputs, index = case(shape, dtype)
    groups = token_groups(index, shape[2])
    as_exact_as_eager(
        lambda x, y, gate: gate_residual(x, y, gate, groups),
        lambda x, y, gate: gate_residual_reference(x, y, gate, index),
        inputs,
    )


def test_the_residual_stream_keeps_its_format(interpreted: None) -> None:
    (x, y, gate), index = case((40, 32, 3))
    half = y.bfloat16().requires_grad_()
    made = gate_residual(x, half, gate.bfloat16(), token_groups(index, 3))
    assert made.dtype == torch.float32
    assert torch.allclose(made, gate_residual_reference(x, y, gate, index), atol=0.05)
    assert torch.autograd.grad(made.sum(), half)[0].dtype == torch.bfloat16


def test_no_tokens_have_no_output(interpreted: None) -> None:
    x, gate = torch.empty(0, 16), torch.ones(2, 16, requires_grad=True)
    made = gate_residual(x, x, gate, token_groups(torch.empty(0, dtype=torch.long), 2))
    (dgate,) = torch.autograd.grad(made, gate, torch.empty(0, 16))
    assert made.shape == (0, 16) and (dgate == 0).all()


def test_rows_that_are_apart_are_read_as_they_are(interpreted: None) -> None:
    (x, y, gate), index = case((40, 32, 3))
    apart = torch.stack([x, x + 1], 1)[:, 0], y.T.contiguous().T, torch.cat([gate, gate], 1)[:, :32]
    expected = gate_residual_reference(x, y, gate, index)
    assert torch.allclose(gate_residual(*apart, token_groups(index, 3)), expected, atol=1e-6)


def test_rows_that_are_apart_have_the_same_gradients(interpreted: None, reads_rows_apart) -> None:
    inputs, index = case((40, 32, 3))
    reads_rows_apart(partial(gate_residual, groups=token_groups(index, 3)), inputs)


def test_it_is_an_operator_that_compiles_whole(interpreted: None, compiles_whole) -> None:
    inputs, index = case((40, 32, 3))
    groups = token_groups(index, 3)
    assert groups.tiles
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    torch.library.opcheck(module._apply, (*leaves, groups.index, *groups.tiles))
    compiles_whole(lambda x, y, gate: gate_residual(x, y, gate, groups).sin(), inputs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y, a, g: (x[1:], y, a, g), r"'x': \(39, 32\), 'y': \(40, 32\)"),
        (lambda x, y, a, g: (x[1:], y[1:], a, g), "groups of 40 tokens for 39"),
        (lambda x, y, a, g: (x, y, a[1:], g), r"gate \(2, 32\): \(3, 32\) is needed"),
        (lambda x, y, a, g: (x, y.to("meta"), a, g), "x, y are on different devices"),
        (lambda x, y, a, g: (x, y.bool(), a, g), "y is of torch.bool"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    change: Callable[[Tensor, Tensor, Tensor, TokenGroups], tuple], words: str
) -> None:
    (x, y, gate), index = case((40, 32, 3))
    with pytest.raises(ValueError, match=words):
        gate_residual(*change(x, y, gate, token_groups(index, 3)))
