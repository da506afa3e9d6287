"""Steps add up to the whole way, and each solver has the order that its name promises."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from avctl.diffusion.solvers import SOLVERS, Solver, Step, integrate, times
from avctl.models.latents import Tracks


def start() -> Tracks:
    return Tracks(torch.ones(1, 1, dtype=torch.float64), torch.full((1, 1), 2.0, dtype=torch.float64))


def along(velocity: Callable[[Tensor, float], Tensor]) -> Step:
    return lambda x, t, step: x.map(lambda x: x + step * velocity(x, t))


decay = along(lambda x, t: -x)  # with the solution e^-t


def error(solver: Solver, steps: int) -> float:
    end = integrate(solver, decay, start(), times(steps, 1.0))
    return abs(float(end.video) - math.exp(-1))


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_order_of_accuracy(solver: Solver, order: int) -> None:
    for steps in (16, 32):
        assert error(solver, steps) / error(solver, 2 * steps) == pytest.approx(2**order, rel=0.15)


@pytest.mark.parametrize("solver", SOLVERS)
def test_both_modalities_are_integrated(solver: Solver) -> None:
    end = integrate(solver, decay, start(), times(50, 1.0))
    assert float(end.audio) == pytest.approx(2 * float(end.video))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_constant_velocity_needs_one_step(solver: Solver) -> None:
    target = start().map(lambda x: x + 2)
    end = integrate(solver, along(lambda x, t: torch.full_like(x, 2)), start(), times(1, 1.0))
    assert torch.allclose(end.video, target.video) and torch.allclose(end.audio, target.audio)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_end_of_the_path_is_never_evaluated(solver: Solver) -> None:
    """There a clean estimate divides by zero noise."""
    asked: list[float] = []

    def advance(x: Tracks, t: float, step: float) -> Tracks:
        asked.append(t)
        return decay(x, t, step)

    integrate(solver, advance, start(), times(7, 3.0))
    assert max(asked) < 1


def test_a_velocity_of_time_is_asked_at_the_right_times() -> None:
    end = integrate("heun", along(lambda x, t: torch.full_like(x, 2 * t)), start(), times(200, 1.0))
    assert float(end.video) == pytest.approx(2.0, abs=6e-3)  # 1 + the integral of 2t


def test_every_finished_step_is_told() -> None:
    told: list[int] = []
    integrate("euler", decay, start(), times(3, 1.0), told.append)
    assert told == [1, 2, 3]


@pytest.mark.parametrize("shift", [1.0, 2.0, 0.5])
def test_times_go_from_zero_to_one(shift: float) -> None:
    at = times(10, shift)
    assert at.shape == (11,) and at[0] == 0 and at[-1] == 1 and (at.diff() > 0).all()


def test_a_shift_spends_more_steps_near_the_noise() -> None:
    assert torch.allclose(times(4, 1.0), torch.tensor([0, 0.25, 0.5, 0.75, 1]))
    assert torch.allclose(times(2, 3.0)[1], torch.tensor(0.25))  # u / (u + 3 (1 - u)) at a half
    assert (times(10, 3.0) <= times(10, 1.0)).all()
