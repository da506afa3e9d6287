"""How exact an operation is: its error and that of eager PyTorch, both against the reference in float64.

An operation passes if its error is at most twice that of the reference in the format of the inputs, forward and in
every gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

Function = Callable[..., Tensor | tuple[Tensor, ...]]


class Errors(NamedTuple):
    """The largest error of each output, and then of each gradient."""

    found: list[float]
    allowed: list[float]

    @property
    def are_allowed(self) -> bool:
        return all(found <= allowed < inf for found, allowed in zip(self.found, self.allowed, strict=True))


def judge(
    operation: Function,
    reference: Function,
    inputs: Sequence[Tensor],
    *,
    own: Sequence[Tensor] | None = None,
    is_trained: bool = True,
) -> Errors:
    """Both functions of the same tensors, or the operation of its `own` form of them.

    Where it is not trained, no gradients are compared. ValueError where shapes differ.
    """
    run = partial(with_gradients, upstream=inputs[0].dtype) if is_trained else _outputs
    exact = run(reference, [x.double() for x in inputs])
    eager = _errors(run(reference, inputs), exact)
    return Errors(_errors(run(operation, inputs if own is None else own), exact), [2 * error for error in eager])


def with_gradients(function: Function, inputs: Sequence[Tensor], upstream: torch.dtype | None = None) -> list[Tensor]:
    """The results, and the gradients of all inputs for the same random gradients of the results, which are rounded to
    the format `upstream`, that of the first input unless it is given."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = function(*leaves)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    gradients = [_upstream(y, upstream or inputs[0].dtype) for y in outputs]
    return [*(y.detach() for y in outputs), *torch.autograd.grad(outputs, leaves, gradients)]


def _outputs(function: Function, inputs: Sequence[Tensor]) -> list[Tensor]:
    outputs = function(*(x.detach().clone() for x in inputs))
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _upstream(y: Tensor, dtype: torch.dtype) -> Tensor:
    """Random numbers of a seed, rounded to `dtype`, whatever the format of y."""
    generator = torch.Generator(y.device).manual_seed(1)
    return torch.randn(y.shape, generator=generator, device=y.device).to(dtype).to(y.dtype)


def _errors(made: Sequence[Tensor], exact: Sequence[Tensor]) -> list[float]:
    """The largest of each; where it is smaller, half a unit in the last place of the largest number, as rounding is."""
    errors = []
    for ours, true in zip(made, exact, strict=True):
        if ours.shape != true.shape:
            raise ValueError(f"{tuple(ours.shape)}, the reference gives {tuple(true.shape)}")
        if not true.numel():
            errors.append(0.0)
            continue
        rounding = torch.finfo(ours.dtype).eps / 2 * true.abs().max()
        error = (ours.double() - true).abs().max()
        errors.append(float(torch.maximum(error, rounding).nan_to_num(torch.inf)))
    return errors
