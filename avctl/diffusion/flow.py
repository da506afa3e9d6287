"""Flow matching on a straight path: x_t = t x1 + (1 - t) x0, from noise x0 to data x1, velocity x1 - x0.

Lipman et al. 2023 with the optimal-transport path; t logit-normal as in Esser et al. 2024.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avctl.models.latents import Latents
from avctl.schema import Flow


def draw_times(flow: Flow, count: int, generator: torch.Generator) -> Tensor:
    """t (count,) = sigmoid(normal(mean, std))."""
    return torch.sigmoid(flow.mean + flow.std * torch.randn(count, generator=generator))


def mix(clean: Tensor, noise: Tensor, t: Tensor, given: Tensor) -> Tensor:
    """x_t, shape of clean (B, F, ...): t (B,), and clean wherever given (B, F) is 1."""
    time = over(t[:, None].expand_as(given), clean)
    return torch.where(over(given, clean) > 0, clean, torch.lerp(noise, clean, time))


def velocity(flow: Flow, output: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """The velocity that the network's output stands for, at x (B, ...) and t (B,)."""
    if flow.predict == "velocity":
        return output
    remaining = (1 - t).clamp(min=1e-3)
    return (output - x) / over(remaining, x)


def loss(flow: Flow, output: Latents, clean: Latents, noise: Latents, t: Tensor, given: Latents) -> Latents:
    """Mean squared error of the velocity per clip, (B,) each, over latent frames that are not given.

    Where the network predicts the clean clip, (output - x1) / (1 - t) is the same error; its weight is capped.
    """

    def one(output: Tensor, clean: Tensor, noise: Tensor, given: Tensor) -> Tensor:
        if flow.predict == "velocity":
            error = (output.float() - (clean - noise)).square()
        else:
            weight = (1 - t).pow(-2).clamp(max=flow.max_weight)
            error = (output.float() - clean).square() * over(weight, clean)
        free = 1 - given
        per_frame = error.flatten(2).mean(2)  # B F
        return (per_frame * free).sum(1) / free.sum(1).clamp(min=1)

    return output.map(one, clean, noise, given)


def over(values: Tensor, like: Tensor) -> Tensor:
    """(B,) or (B, F) with axes added to broadcast over like (B, F, ...)."""
    return values.view(*values.shape, *[1] * (like.ndim - values.ndim))
