"""Norm and turn of queries and keys: the kernels against the reference in float64, forward and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from avctl.kernels import qk_norm_rope as module
from avctl.kernels.groups import TokenGroups, token_groups
from avctl.kernels.qk_norm_rope import Rotation, of_tokens, qk_norm_rope, qk_norm_rope_reference, rotation

SHAPES = [(38, 2, 16, 3), (1, 1, 2, 1), (18, 5, 34, 2), (9, 3, 128, 3)]  # S, N, K, G; the last group is empty
POSITIONS = 11


def case(
    shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float32
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """qk and weight; the groups of tokens; the angles of positions and the places of tokens among them."""
    tokens, heads, width, groups = shape
    generator = torch.Generator().manual_seed(sum(shape))
    index = torch.randint(0, max(1, groups - 1), (tokens,), generator=generator)
    place = torch.randint(0, POSITIONS, (tokens, 3), generator=generator)
    angles = 20 * torch.rand(POSITIONS, width // 2, generator=generator)
    qk = 3 * torch.randn(tokens, 2, heads, width, generator=generator)
    weight = 1 + torch.randn(groups, 2, width, generator=generator)
    return [qk.to(dtype), weight.to(dtype)], index, angles, place


def pairs_of(width: int) -> tuple[int, int]:
    return width // 2 - 2 * (width // 16), width // 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_reference_forward_and_backward(
    shape: tuple[int, int, int, int], dtype: torch.dtype, interpreted: None, guarded: None, as_exact_as_eager
) -> None:
    inputs, index, angles, place = case(shape, dtype)
    groups, turns = token_groups(index, shape[3]), rotation(angles, place, pairs_of(shape[2]))
    exact = of_tokens(turns.table.double(), place, turns.pairs)
    as_exact_as_eager(
        lambda qk, weight: qk_norm_rope(qk, weight, groups, turns),
        lambda qk, weight: qk_norm_rope_reference(qk, weight, index, exact),
        inputs,
    )


def test_pairs_turn_with_the_axis_that_they_belong_to() -> None:
    table = torch.arange(2 * 4 * 5.0).view(2, 4, 5)
    turned = of_tokens(table, torch.tensor([[3, 1, 0], [2, 0, 1]]), (2, 1))
    assert turned[0].tolist() == [[15, 16, 7, 3, 4], [10, 11, 2, 8, 9]]


def test_products_of_queries_and_keys_depend_on_differences_of_place(interpreted: None) -> None:
    angles = torch.arange(POSITIONS)[:, None] * torch.linspace(0.1, 2.0, 8)
    qk = torch.randn(1, 2, 3, 16).expand(2, -1, -1, -1)
    one = token_groups(torch.zeros(2, dtype=torch.long), 1)
    products = []
    for places in ([[1, 2, 3], [4, 2, 5]], [[5, 0, 1], [8, 0, 3]]):
        q, k = qk_norm_rope(qk, torch.ones(1, 2, 16), one, rotation(angles, torch.tensor(places), (4, 2))).unbind(1)
        products.append((q[0] * k[1]).sum(-1))
    assert torch.allclose(*products, atol=1e-5)


def test_a_weight_of_zero_has_a_gradient(interpreted: None) -> None:
    (qk, weight), index, angles, place = case(SHAPES[0])
    weight = torch.zeros_like(weight).requires_grad_()
    groups, turns = token_groups(index, 3), rotation(angles, place, (6, 1))
    (found,) = torch.autograd.grad(qk_norm_rope(qk, weight, groups, turns)[..., 0].sum(), weight)
    cos_sin = of_tokens(turns.table, place, turns.pairs)
    (expected,) = torch.autograd.grad(qk_norm_rope_reference(qk, weight, index, cos_sin)[..., 0].sum(), weight)
    assert torch.allclose(found, expected, atol=1e-4) and found.abs().max() > 1


def test_packed_queries_keys_and_values_are_read_as_they_are(interpreted: None) -> None:
    (qk, weight), index, angles, place = case(SHAPES[0])
    groups, turns = token_groups(index, 3), rotation(angles, place, (6, 1))
    expected = qk_norm_rope(qk, weight, groups, turns)
    packed = torch.cat([qk, qk[:, :1]], 1)
    across = qk.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(qk_norm_rope(packed[:, :2], weight, groups, turns), expected)
    assert torch.equal(qk_norm_rope(across, weight, groups, turns), expected)


def test_packed_queries_keys_and_values_have_the_same_gradients(interpreted: None, reads_rows_apart) -> None:
    inputs, index, angles, place = case((20, 2, 16, 2))
    groups, turns = token_groups(index, 2), rotation(angles, place, (6, 1))
    reads_rows_apart(partial(qk_norm_rope, groups=groups, turns=turns), inputs)
    qk, weight = (x.requires_grad_() for x in inputs)
    packed = torch.cat([qk, qk[:, :1]], 1).detach().requires_grad_()
    found = torch.autograd.grad(qk_norm_rope(packed[:, :2], weight, groups, turns).square().sum(), (packed, weight))
    expected = torch.autograd.grad(qk_norm_rope(qk, weight, groups, turns).square().sum(), (qk, weight))
    assert torch.equal(found[0][:, :2], expected[0]) and torch.equal(found[1], expected[1])
    assert not found[0][:, 2].any()


@pytest.mark.parametrize("numbers", [16, 64])
def test_programs_that_share_a_token_are_the_reference(
    numbers: int, interpreted: None, guarded: None, as_exact_as_eager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NUMBERS", numbers)  # a head, or four of ten
    inputs, index, angles, place = case((9, 5, 16, 3))
    groups, turns = token_groups(index, 3), rotation(angles, place, (6, 1))
    exact = of_tokens(turns.table.double(), place, turns.pairs)
    as_exact_as_eager(
        partial(qk_norm_rope, groups=groups, turns=turns),
        lambda qk, weight: qk_norm_rope_reference(qk, weight, index, exact),
        inputs,
    )


def test_no_tokens_have_no_output(interpreted: None) -> None:
    none, weight = torch.empty(0, dtype=torch.long), torch.ones(2, 2, 8, requires_grad=True)
    turns = rotation(torch.ones(3, 4), none.view(0, 3), (2, 1))
    made = qk_norm_rope(torch.empty(0, 2, 3, 8), weight, token_groups(none, 2), turns)
    assert made.shape == (0, 2, 3, 8) and (torch.autograd.grad(made.sum(), weight)[0] == 0).all()


def test_it_is_an_operator_that_compiles_whole(interpreted: None, compiles_whole) -> None:
    inputs, index, angles, place = case((6, 1, 8, 2))
    groups, turns = token_groups(index, 2), rotation(angles, place, (2, 1))
    assert groups.tiles
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    torch.library.opcheck(module._apply, (*leaves, groups.index, turns.table, turns.place, *turns.pairs, *groups.tiles))
    compiles_whole(lambda qk, weight: qk_norm_rope(qk, weight, groups, turns).sin(), inputs)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, w, g, r: (x[:, :1], w, g, r), r"qk \(38, 1, 2, 16\): \(tokens, 2, heads"),
        (lambda x, w, g, r: (x, w[1:], g, r), r"weight \(2, 2, 16\): \(3, 2, 16\) is needed"),
        (lambda x, w, g, r: (x[1:], w, g, r), "groups of 38 and places of 38 tokens for 37"),
        (lambda x, w, g, r: (x, w, g, r._replace(place=r.place[1:])), "places of 37 tokens for 38"),
        (lambda x, w, g, r: (x, w, g, r._replace(table=r.table[..., 1:])), "7 pairs are turned, and heads have 16"),
        (lambda x, w, g, r: (x, w.to("meta"), g, r), "qk, weight are on different devices"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    change: Callable[[Tensor, Tensor, TokenGroups, Rotation], tuple], words: str
) -> None:
    (qk, weight), index, angles, place = case(SHAPES[0])
    with pytest.raises(ValueError, match=words):
        qk_norm_rope(*change(qk, weight, token_groups(index, 3), rotation(angles, place, (6, 1))))


@pytest.mark.parametrize("wrong", [-1, 9])
def test_a_place_that_does_not_exist_is_refused(wrong: int) -> None:
    place = torch.tensor([[0, 8, 3], [1, wrong, 0]])
    with pytest.raises(RuntimeError, match="a token's place is out of range"):
        rotation(torch.rand(9, 8), place, (6, 1))
