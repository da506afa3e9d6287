"""What counts as exact: twice the error of eager PyTorch against float64, and not more."""

from __future__ import annotations

import torch
from torch import Tensor

from avctl.kernels.exact import judge

INPUTS = [torch.linspace(-2, 3, 50).bfloat16(), torch.linspace(1, 2, 50).bfloat16()]


def reference(x: Tensor, y: Tensor) -> Tensor:
    return x.sin() * y


def test_the_reference_itself_is_exact() -> None:
    errors = judge(reference, reference, INPUTS)
    assert (
        errors.are_allowed
        and len(errors.found) == 3
        and all(2 * error == allowed for error, allowed in zip(*errors, strict=True))
    )


def test_a_reference_that_is_no_number_allows_nothing() -> None:
    def overflows(x: Tensor, y: Tensor) -> Tensor:
        return (x.half() * 1e5 * y.half()).to(x.dtype) - (x.half() * 1e5 * y.half()).to(x.dtype)

    assert not judge(overflows, overflows, INPUTS).are_allowed


def test_a_wrong_output_a_wrong_gradient_and_one_that_is_no_number_are_not() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor, y: Tensor) -> Tensor:
            ctx.save_for_backward(x, y)
            return reference(x, y)

        @staticmethod
        def backward(ctx, *grads: Tensor) -> tuple[Tensor, Tensor]:
            x, y = ctx.saved_tensors
            return grads[0] * x.cos() * y, 1.1 * grads[0] * x.sin()

    assert not judge(lambda x, y: reference(x, y) * 1.05, reference, INPUTS).are_allowed
    errors = judge(Wrong.apply, reference, INPUTS)
    assert [found <= allowed for found, allowed in zip(*errors, strict=True)] == [True, True, False]
    assert not judge(lambda x, y: reference(x, y) / 0, reference, INPUTS).are_allowed


def test_what_has_no_gradient_is_compared_without() -> None:
    errors = judge(lambda x, y: reference(x, y).detach(), reference, INPUTS, is_trained=False)
    assert errors.are_allowed and len(errors.found) == 1


def test_what_comes_to_the_exact_gradients_is_rounded_as_it_is_to_others() -> None:
    def same(x: Tensor) -> Tensor:
        seen.append(x.dtype)
        x.register_hook(lambda gradient: upstream.append(gradient))
        return x

    seen: list[torch.dtype] = []
    upstream: list[Tensor] = []
    judge(same, same, [torch.randn(9).bfloat16()])
    assert seen == [torch.float64, torch.bfloat16, torch.bfloat16]
    assert all(torch.equal(each.double(), upstream[0]) for each in upstream)
