"""Norm and modulation by group: the kernels against the reference in float64, forward and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from avctl.kernels import norm_modulate as module
from avctl.kernels.groups import LARGEST_TILE, TokenGroups, token_groups
from avctl.kernels.norm_modulate import norm_modulate, norm_modulate_reference
from avctl.kernels.rows import Norm

SHAPES = [
    (70, 48, 3),
    (1, 7, 1),
    (33, 130, 5),
    (3 * LARGEST_TILE, 64, 1),
    (18, 1_030, 2),
]  # S, D, G; the last group is empty


def case(shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor]:
    """x, scale and shift, and the groups of tokens in any order."""
    tokens, width, groups = shape
    generator = torch.Generator().manual_seed(sum(shape))
    index = torch.randint(0, max(1, groups - 1), (tokens,), generator=generator)
    sizes = ((tokens, width), (groups, width), (groups, width))
    x, scale, shift = (torch.randn(size, generator=generator).to(dtype) for size in sizes)
    return [x + 3, scale, shift], index


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_reference_forward_and_backward(
    shape: tuple[int, int, int], norm: Norm, dtype: torch.dtype, interpreted: None, guarded: None, as_exact_as_eager
) -> None:
    inputs, index = case(shape, dtype)
    groups = token_groups(index, shape[2])
    as_exact_as_eager(
        lambda x, scale, shift: norm_modulate(x, scale, shift, groups, norm),
        lambda x, scale, shift: norm_modulate_reference(x, scale, shift, index, norm),
        inputs,
    )


def test_a_residual_stream_in_float32_is_modulated_in_bfloat16(interpreted: None) -> None:
    (x, scale, shift), index = case((40, 32, 3))
    half = scale.bfloat16().requires_grad_()
    made = norm_modulate(x.requires_grad_(), half, shift.bfloat16(), token_groups(index, 3))
    expected = norm_modulate_reference(x, scale, shift, index)
    assert made.dtype == torch.bfloat16 and torch.allclose(made.float(), expected, atol=0.05, rtol=0.02)
    dx, dscale = torch.autograd.grad(made.float().sum(), (x, half))
    assert dx.dtype == torch.float32 and dscale.dtype == torch.bfloat16


def test_no_tokens_have_no_output(interpreted: None) -> None:
    x, scale = torch.empty(0, 16, requires_grad=True), torch.ones(2, 16, requires_grad=True)
    made = norm_modulate(x, scale, torch.zeros(2, 16), token_groups(torch.empty(0, dtype=torch.long), 2))
    dx, dscale = torch.autograd.grad(made, (x, scale), torch.empty(0, 16))
    assert made.shape == dx.shape == (0, 16) and (dscale == 0).all()


def test_rows_that_are_apart_are_read_as_they_are(interpreted: None) -> None:
    (x, scale, shift), index = case((40, 32, 3))
    expected = norm_modulate_reference(x, scale, shift, index)
    apart = torch.stack([x, x + 1], 1)[:, 0], torch.stack([scale, scale], 2)[:, :, 0], shift.T.contiguous().T
    assert torch.allclose(norm_modulate(*apart, token_groups(index, 3)), expected, atol=1e-5)


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_rows_that_are_apart_have_the_same_gradients(norm: Norm, interpreted: None, reads_rows_apart) -> None:
    inputs, index = case((40, 32, 3))
    reads_rows_apart(partial(norm_modulate, groups=token_groups(index, 3), norm=norm), inputs)


def test_it_is_an_operator_that_compiles_whole(interpreted: None, compiles_whole) -> None:
    inputs, index = case((40, 32, 3))
    groups = token_groups(index, 3)
    assert groups.tiles
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    torch.library.opcheck(module._apply, (*leaves, groups.index, *groups.tiles, True))
    compiles_whole(lambda x, scale, shift: norm_modulate(x, scale, shift, groups).sin(), inputs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, a, b, g: (x[None], a, b, g), r"x': \(1, 40, 32\)"),
        (lambda x, a, b, g: (x, a[:, 1:], b, g), r"scale \(3, 31\): \(3, 32\) is needed"),
        (lambda x, a, b, g: (x, a, b[1:], g), r"shift \(2, 32\): \(3, 32\) is needed"),
        (lambda x, a, b, g: (x[1:], a, b, g), "groups of 40 tokens for 39"),
        (lambda x, a, b, g: (x.to("meta"), a, b, g), "x, scale, shift are on different devices"),
        (lambda x, a, b, g: (x, a.int(), b, g), "scale is of torch.int32"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    change: Callable[[Tensor, Tensor, Tensor, TokenGroups], tuple], words: str
) -> None:
    (x, scale, shift), index = case((40, 32, 3))
    with pytest.raises(ValueError, match=words):
        norm_modulate(*change(x, scale, shift, token_groups(index, 3)))
