"""Gate, residual, norm and modulation in one: against the reference in float64, both outputs and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from avctl.kernels import gate_residual_norm_modulate as module
from avctl.kernels.gate_residual import gate_residual
from avctl.kernels.gate_residual_norm_modulate import (
    gate_residual_norm_modulate,
    gate_residual_norm_modulate_reference,
)
from avctl.kernels.groups import TokenGroups, token_groups
from avctl.kernels.norm_modulate import norm_modulate
from avctl.kernels.rows import Norm

SHAPES = [(70, 48, 3), (1, 7, 1), (33, 130, 5), (18, 1_030, 2)]  # S, D, G; the last group is empty


def case(shape: tuple[int, int, int], dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor]:
    """x, y, gate, scale and shift, and the groups of tokens in any order."""
    tokens, width, groups = shape
    generator = torch.Generator().manual_seed(sum(shape))
    index = torch.randint(0, max(1, groups - 1), (tokens,), generator=generator)
    sizes = [(tokens, width)] * 2 + [(groups, width)] * 3
    return [torch.randn(size, generator=generator).to(dtype) for size in sizes], index


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_reference_forward_and_backward(
    shape: tuple[int, int, int], norm: Norm, dtype: torch.dtype, interpreted: None, guarded: None, as_exact_as_eager
) -> None:
    inputs, index = case(shape, dtype)
    groups = token_groups(index, shape[2])
    as_exact_as_eager(
        partial(gate_residual_norm_modulate, groups=groups, norm=norm),
        partial(gate_residual_norm_modulate_reference, index=index, norm=norm),
        inputs,
    )


def test_it_is_what_its_two_parts_are_one_after_the_other(interpreted: None) -> None:
    (x, y, gate, scale, shift), index = case((70, 48, 3), torch.bfloat16)
    groups = token_groups(index, 3)
    out, h = gate_residual_norm_modulate(x, y, gate, scale, shift, groups)
    assert torch.equal(out, gate_residual(x, y, gate, groups))
    assert torch.equal(h, norm_modulate(out, scale, shift, groups))


def test_each_output_has_a_format_of_its_own(interpreted: None) -> None:
    (x, *others), index = case((40, 32, 3))
    half = [tensor.bfloat16().requires_grad_() for tensor in others]
    out, h = gate_residual_norm_modulate(x.requires_grad_(), *half, groups=token_groups(index, 3))
    expected = gate_residual_norm_modulate_reference(x, *others, index=index)
    assert out.dtype == torch.float32 and h.dtype == torch.bfloat16
    assert torch.allclose(out, expected[0], atol=0.05) and torch.allclose(h.float(), expected[1], atol=0.1)
    gradients = torch.autograd.grad(out.sum() + h.float().sum(), [x, *half])
    assert [g.dtype for g in gradients] == [torch.float32, *[torch.bfloat16] * 4]


def test_an_output_that_nothing_is_made_of_has_no_part_in_the_gradients(interpreted: None) -> None:
    (x, *others), index = case((40, 32, 3))
    x.requires_grad_()
    out, h = gate_residual_norm_modulate(x, *others, groups=token_groups(index, 3))
    assert torch.equal(torch.autograd.grad(out.sum(), x, retain_graph=True)[0], torch.ones_like(x))
    assert torch.autograd.grad(h.sum(), x)[0].abs().sum() > 0


def test_no_tokens_have_no_output(interpreted: None) -> None:
    x, gate = torch.empty(0, 16), torch.ones(2, 16, requires_grad=True)
    groups = token_groups(torch.empty(0, dtype=torch.long), 2)
    out, h = gate_residual_norm_modulate(x, x, gate, gate, gate, groups)
    (dgate,) = torch.autograd.grad(out.sum() + h.sum(), gate)
    assert out.shape == h.shape == (0, 16) and (dgate == 0).all()


def test_rows_that_are_apart_are_read_as_they_are(interpreted: None) -> None:
    (x, y, *tables), index = case((40, 32, 3))
    gate, scale, shift = torch.cat(tables, 1).chunk(3, dim=1)
    made = gate_residual_norm_modulate(
        torch.stack([x, x], 1)[:, 1], y.T.contiguous().T, gate, scale, shift, token_groups(index, 3)
    )
    expected = gate_residual_norm_modulate_reference(x, y, *tables, index=index)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(made, expected, strict=True))


@pytest.mark.parametrize("width", [32, 16])
def test_rows_that_are_apart_have_the_same_gradients(
    width: int, interpreted: None, reads_rows_apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WIDE", 16)
    inputs, index = case((40, width, 3))
    reads_rows_apart(partial(gate_residual_norm_modulate, groups=token_groups(index, 3)), inputs)


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("shape", [(70, 48, 3), (1, 7, 1), (33, 130, 5)])
def test_programs_that_share_wide_rows_are_the_reference(
    shape: tuple[int, int, int], norm: Norm, interpreted: None, guarded: None, as_exact_as_eager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "WIDE", 4)
    inputs, index = case(shape)
    as_exact_as_eager(
        partial(gate_residual_norm_modulate, groups=token_groups(index, shape[2]), norm=norm),
        partial(gate_residual_norm_modulate_reference, index=index, norm=norm),
        inputs,
    )


def test_it_is_an_operator_that_compiles_whole(interpreted: None, compiles_whole) -> None:
    inputs, index = case((40, 32, 3))
    groups = token_groups(index, 3)
    assert groups.tiles
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    torch.library.opcheck(module._apply, (*leaves, groups.index, *groups.tiles, True))
    compiles_whole(partial(gate_residual_norm_modulate, groups=groups), inputs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y, a, b, c, g: (x[1:], y, a, b, c, g), r"'x': \(39, 32\), 'y': \(40, 32\)"),
        (lambda x, y, a, b, c, g: (x[1:], y[1:], a, b, c, g), "groups of 40 tokens for 39"),
        (lambda x, y, a, b, c, g: (x, y, a, b[1:], c, g), r"scale \(2, 32\): \(3, 32\) is needed"),
        (lambda x, y, a, b, c, g: (x, y, a, b, c.to("meta"), g), "different devices"),
        (lambda x, y, a, b, c, g: (x, y, a.int(), b, c, g), "gate is of torch.int32"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    change: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, TokenGroups], tuple], words: str
) -> None:
    inputs, index = case((40, 32, 3))
    x, y, gate, scale, shift = inputs
    with pytest.raises(ValueError, match=words):
        gate_residual_norm_modulate(*change(x, y, gate, scale, shift, token_groups(index, 3)))
