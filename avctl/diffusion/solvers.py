"""Integration of the velocity from noise (t = 0) to data (t = 1): plain functions of a velocity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from avctl.models.latents import Latents

Velocity = Callable[[Latents, float], Latents]  # (x, t) -> dx/dt; zero wherever x is given


def times(steps: int, shift: float) -> Tensor:
    """(steps + 1,) from 0 to 1: t = u / (u + shift (1 - u)) (Esser et al. 2024, eq. 23, time reversed)."""
    u = torch.linspace(0, 1, steps + 1)
    return u / (u + shift * (1 - u))


def euler(velocity: Velocity, x: Latents, t: float, step: float) -> Latents:
    return x.map(lambda x, v: x + step * v, velocity(x, t))


def heun(velocity: Velocity, x: Latents, t: float, step: float) -> Latents:
    """Second order: the mean of the velocities at both ends; Euler for the last step, where t = 1 has no noise."""
    first = velocity(x, t)
    ahead = x.map(lambda x, v: x + step * v, first)
    if t + step >= 1 - 1e-6:
        return ahead
    return x.map(lambda x, a, b: x + step / 2 * (a + b), first, velocity(ahead, t + step))


Solver = Literal["euler", "heun"]
SOLVERS: dict[Solver, Callable[[Velocity, Latents, float, float], Latents]] = {"euler": euler, "heun": heun}


def integrate(
    solver: Solver,
    velocity: Velocity,
    x: Latents,
    at: Tensor,
    on_step: Callable[[int], None] = lambda step: None,
) -> Latents:
    """x at at[-1], from x at at[0]. `on_step` is told each finished step."""
    advance = SOLVERS[solver]
    for i, (t, after) in enumerate(zip(at[:-1].tolist(), at[1:].tolist(), strict=True)):
        x = advance(velocity, x, t, after - t)
        on_step(i + 1)
    return x
