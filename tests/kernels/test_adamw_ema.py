"""A step of AdamW, clipping and averaging: bit for bit what the reference does, weight by weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from avctl.kernels import adamw_ema as module
from avctl.kernels.adamw_ema import (
    BLOCK,
    PIECE,
    Settings,
    Slots,
    adamw_ema,
    adamw_ema_reference,
    gradient_norm,
    gradient_norm_reference,
)

SHAPES = ((3,), (2, PIECE // 2 + 5), (), (0, 4), (BLOCK + 1,), (5, 7))
SETTINGS = Settings(lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1, clip_norm=0.5, decay=0.99)


def case(shapes: Sequence[tuple[int, ...]] = SHAPES, *, is_averaged: bool = True, has_copies: bool = True) -> Slots:
    generator = torch.Generator().manual_seed(0)

    def drawn() -> list[Tensor]:
        return [torch.randn(shape, generator=generator) for shape in shapes]

    copies = [torch.zeros(shape, dtype=torch.bfloat16) for shape in shapes] if has_copies else []
    return Slots(drawn(), drawn(), drawn(), [x.square() for x in drawn()], drawn() if is_averaged else [], copies)


def cloned(slots: Slots) -> Slots:
    return Slots(*([x.clone() for x in tensors] for tensors in slots))


def bits(slots: Slots) -> list[Tensor]:
    """What a step writes."""
    return [x for name in ("weights", "first", "second", "averages", "copies") for x in getattr(slots, name)]


@pytest.mark.parametrize(("is_averaged", "has_copies"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize(("step", "scale"), [(1, 1.0), (1_000, 1e-6)])  # clipped, and far below the bound
def test_it_is_the_reference_to_the_bit(
    step: int, scale: float, is_averaged: bool, has_copies: bool, interpreted: None
) -> None:
    slots = case(is_averaged=is_averaged, has_copies=has_copies)
    for gradient in slots.gradients:
        gradient *= scale
    expected = cloned(slots)
    norm = gradient_norm(slots.gradients)
    adamw_ema(slots, norm, step, SETTINGS)
    adamw_ema_reference(expected, norm, step, SETTINGS)
    assert all(torch.equal(a, b) for a, b in zip(bits(slots), bits(expected), strict=True))
    assert all(torch.equal(c, w.bfloat16()) for c, w in zip(expected.copies, expected.weights, strict=has_copies))


def test_many_steps_are_those_of_pytorch(interpreted: None) -> None:
    slots = case()
    theirs = [weight.clone().requires_grad_() for weight in slots.weights]
    averages = [average.clone() for average in slots.averages]
    for tensor in (*slots.first, *slots.second):
        tensor.zero_()
    optimizer = torch.optim.AdamW(theirs, lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(1, 4):
        for mine, other in zip(slots.gradients, theirs, strict=True):
            mine.copy_(torch.randn_like(mine))
            other.grad = mine.clone()
        norm = torch.nn.utils.clip_grad_norm_(theirs, 0.5)
        optimizer.step()
        for average, weight in zip(averages, theirs, strict=True):
            average.lerp_(weight.detach(), 0.01)
        assert torch.allclose(gradient_norm(slots.gradients), norm)
        adamw_ema(slots, norm, step, SETTINGS)
    for mine, other in ((slots.weights, theirs), (slots.averages, averages)):
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(mine, other, strict=True))


def test_a_cpu_takes_the_same_step() -> None:
    slots, expected = case(), case()
    norm = gradient_norm(slots.gradients)
    assert torch.allclose(norm, gradient_norm_reference(expected.gradients))
    adamw_ema(slots, norm, 7, SETTINGS)
    adamw_ema_reference(expected, norm, 7, SETTINGS)
    pairs = zip(bits(slots._replace(copies=[])), bits(expected._replace(copies=[])), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    assert all(torch.equal(c, w.bfloat16()) for c, w in zip(slots.copies, slots.weights, strict=True))


def test_the_norm_does_not_depend_on_what_ended_first(interpreted: None) -> None:
    gradients = [torch.randn(PIECE + 1) for _ in range(5)]
    norm = gradient_norm(gradients)
    assert torch.equal(norm, gradient_norm(gradients)) and torch.allclose(norm, gradient_norm_reference(gradients))
    gradients[3][PIECE] = torch.inf
    assert gradient_norm(gradients).isinf()


def test_what_is_not_finite_is_not_clipped_away(interpreted: None) -> None:
    """Nobody applies such gradients; whoever does is to see it."""
    slots, expected = case(), case()
    for each in (slots, expected):
        each.gradients[1][0, 3] = torch.nan
    norm = gradient_norm(slots.gradients)
    adamw_ema(slots, norm, 1, SETTINGS)
    adamw_ema_reference(expected, norm, 1, SETTINGS)
    assert norm.isnan() and all(weight.isnan().all() for weight in slots.weights)
    assert all(torch.equal(a.isnan(), b.isnan()) for a, b in zip(bits(slots), bits(expected), strict=True))


def test_tensors_may_be_laid_out_in_any_order_without_gaps(interpreted: None) -> None:
    """As weights of convolutions are, and those with axes of one number, whose strides mean nothing."""
    shapes = ((2, 3, 4), (1, 4, 8))
    slots, expected = case(shapes), case(shapes)

    def permuted(x: Tensor) -> Tensor:
        return x.permute(0, 2, 1).contiguous().permute(0, 2, 1) if len(x) == 2 else x.as_strided(x.shape, (8, 8, 1))

    slots = Slots(*([permuted(x) for x in tensors] for tensors in slots))
    slots.weights[1].as_strided_((1, 4, 8), (32, 8, 1))
    norm = gradient_norm(expected.gradients)
    adamw_ema(slots, norm, 3, SETTINGS)
    adamw_ema_reference(expected, norm, 3, SETTINGS)
    assert all(torch.equal(a, b) for a, b in zip(bits(slots), bits(expected), strict=True))


def test_nothing_beside_the_weights_is_written(interpreted: None) -> None:
    whole = torch.full((20,), 7.0)
    slots = Slots(*([whole.clone()[4:17]] for _ in range(5)))  # none of them begins where 16 divides
    storages = [tensors[0].untyped_storage() for tensors in slots if tensors]
    adamw_ema(slots, gradient_norm(slots.gradients), 1, SETTINGS)
    for storage in storages:
        outside = torch.empty(0).set_(storage)[[*range(4), *range(17, 20)]]  # pyright: ignore[reportArgumentType]
        assert (outside == 7).all()


def test_it_is_an_operator(interpreted: None) -> None:
    slots = case(((3, 4), (5,)))
    torch.library.opcheck(module._gradient_norm, (slots.gradients,))
    factors = module._factors(SETTINGS, 3)
    torch.library.opcheck(module._apply, (*map(list, slots), torch.ones(()), 0.5, 0.95, 1e-8, factors))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s._replace(first=s.first[1:]), "6 weights, 6 gradients, 5 first"),
        (lambda s: s._replace(second=[x.double() for x in s.second]), r"second\[0\] is of torch.float64"),
        (lambda s: s._replace(copies=s.weights), r"copies\[0\] is of torch.float32: torch.bfloat16"),
        (lambda s: s._replace(gradients=[*s.gradients[:5], s.gradients[5].T]), r"gradients\[5\] \(7, 5\) is not laid"),
        (
            lambda s: Slots(*([x[:, :2] if x.shape == (5, 7) else x for x in tensors] for tensors in s)),
            r"weights\[5\] \(5, 2\) is not laid out",
        ),
        (lambda s: s._replace(averages=[x.to("meta") for x in s.averages]), r"averages\[0\] is on another device"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(change: Callable[[Slots], Slots], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        adamw_ema(change(case()), torch.ones(()), 1, SETTINGS)


def test_no_gradients_have_no_norm() -> None:
    with pytest.raises(ValueError, match="there are no gradients"):
        gradient_norm([])
