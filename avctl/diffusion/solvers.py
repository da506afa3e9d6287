"""Integration of the velocity from noise (t = 0) to data (t = 1), made of Euler's steps alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from avctl.models.latents import Tracks

Step = Callable[[Tracks, float, float], Tracks]  # (x, t, step) -> x + step dx/dt; x stays where it is given


def times(steps: int, shift: float) -> Tensor:
    """(steps + 1,) from 0 to 1: t = u / (u + shift (1 - u)) (Esser et al. 2024, eq. 23, time reversed)."""
    u = torch.linspace(0, 1, steps + 1)
    return u / (u + shift * (1 - u))


def euler(advance: Step, x: Tracks, t: float, step: float) -> Tracks:
    return advance(x, t, step)


def heun(advance: Step, x: Tracks, t: float, step: float) -> Tracks:
    """Second order: halfway from x to where two steps lead, which is a step along the mean of the velocities at both
    ends; Euler for the last step, where t = 1 has no noise."""
    ahead = advance(x, t, step)
    if t + step >= 1 - 1e-6:
        return ahead
    return x.map(lambda x, further: torch.lerp(x, further, 0.5), advance(ahead, t + step, step))


Solver = Literal["euler", "heun"]
SOLVERS: dict[Solver, Callable[[Step, Tracks, float, float], Tracks]] = {"euler": euler, "heun": heun}


def integrate(
    solver: Solver,
    advance: Step,
    x: Tracks,
    at: Tensor,
    on_step: Callable[[int], None] = lambda step: None,
) -> Tracks:
    """x at at[-1], from x at at[0]. `on_step` is told each finished step."""
    solve = SOLVERS[solver]
    for i, (t, after) in enumerate(zip(at[:-1].tolist(), at[1:].tolist(), strict=True)):
        x = solve(advance, x, t, after - t)
        on_step(i + 1)
    return x
