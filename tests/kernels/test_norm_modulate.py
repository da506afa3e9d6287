"""Norm and modulation by group: the kernels against the reference in float64, forward and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from avctl.kernels import norm_modulate as module
from avctl.kernels.groups import TILE, token_groups
from avctl.kernels.norm_modulate import Norm, norm_modulate, norm_modulate_reference

Interpreted = Callable[[ModuleType], None]
Inputs = tuple[Tensor, Tensor, Tensor]
SHAPES = [
    (70, 48, 3),
    (1, 7, 1),
    (33, 130, 5),
    (3 * TILE, 64, 1),
    (TILE + 1, 257, 2),
]  # N, D, G; the last group is empty


def case(shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[Inputs, Tensor, Tensor]:
    """x, scale and shift, the groups of tokens in any order, and the gradient of the output."""
    tokens, width, groups = shape
    generator = torch.Generator().manual_seed(sum(shape))
    index = torch.randint(0, max(1, groups - 1), (tokens,), generator=generator)
    sizes = ((tokens, width), (groups, width), (groups, width), (tokens, width))
    x, scale, shift, dy = (torch.randn(size, generator=generator).to(dtype) for size in sizes)
    return leaves(x + 3, scale, shift), index, dy


def leaves(x: Tensor, scale: Tensor, shift: Tensor) -> Inputs:
    return x.requires_grad_(), scale.requires_grad_(), shift.requires_grad_()


def errors(made: list[Tensor], exact: list[Tensor]) -> list[float]:
    return [float((a.detach().double() - b.detach()).abs().max()) for a, b in zip(made, exact, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_reference_forward_and_backward(
    shape: tuple[int, int, int], norm: Norm, dtype: torch.dtype, interpreted: Interpreted, guarded: None
) -> None:
    inputs, index, dy = case(shape, dtype)
    exact_inputs = leaves(*(tensor.detach().double() for tensor in inputs))
    exact = norm_modulate_reference(*exact_inputs, index, norm)
    exact_all = [exact, *torch.autograd.grad(exact, exact_inputs, dy.double())]
    eager = norm_modulate_reference(*inputs, index, norm)
    allowed = errors([eager, *torch.autograd.grad(eager, inputs, dy)], exact_all)
    interpreted(module)
    made = norm_modulate(*inputs, token_groups(index, shape[2]), norm)
    found = errors([made, *torch.autograd.grad(made, inputs, dy)], exact_all)
    floor = torch.finfo(dtype).eps
    assert all(a <= 2 * max(b, floor) for a, b in zip(found, allowed, strict=True)), (found, allowed)


def test_no_tokens_have_no_output(interpreted: Interpreted) -> None:
    interpreted(module)
    x, scale = torch.empty(0, 16, requires_grad=True), torch.ones(2, 16, requires_grad=True)
    made = norm_modulate(x, scale, torch.zeros(2, 16), token_groups(torch.empty(0, dtype=torch.long), 2))
    dx, dscale = torch.autograd.grad(made, (x, scale), torch.empty(0, 16))
    assert made.shape == dx.shape == (0, 16) and (dscale == 0).all()


def test_rows_that_are_apart_are_read_as_they_are(interpreted: Interpreted) -> None:
    inputs, index, _ = case((40, 32, 3), torch.float32)
    x, scale, shift = (tensor.detach() for tensor in inputs)
    groups = token_groups(index, 3)
    expected = norm_modulate_reference(x, scale, shift, index)
    interpreted(module)
    apart = torch.stack([x, x + 1], 1)[:, 0], torch.stack([scale, scale], 2)[:, :, 0], shift.T.contiguous().T
    assert torch.allclose(norm_modulate(*apart, groups), expected, atol=1e-5)


def test_it_is_an_operator_that_compiles_whole(interpreted: Interpreted) -> None:
    interpreted(module)
    inputs, index, _ = case((40, 32, 3), torch.float32)
    groups = token_groups(index, 3)
    torch.library.opcheck(module._apply, (*inputs, *groups, True))
    compiled = torch.compile(
        lambda x, scale, shift: norm_modulate(x, scale, shift, groups).sin(), fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(*inputs), norm_modulate(*inputs, groups).sin())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, a, b, g: (x[None], a, b, g), "do not fit"),
        (lambda x, a, b, g: (x, a[:, 1:], b, g), "do not fit"),
        (lambda x, a, b, g: (x, a[1:], b[1:], g), "groups of 40 tokens in 3 for 40"),
        (lambda x, a, b, g: (x[1:], a, b, g), "groups of 40 tokens in 3 for 39"),
        (lambda x, a, b, g: (x.to("meta"), a, b, g), "different devices"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(change: Callable, words: str) -> None:
    inputs, index, _ = case((40, 32, 3), torch.float32)
    with pytest.raises(ValueError, match=words):
        norm_modulate(*change(*inputs, token_groups(index, 3)))
