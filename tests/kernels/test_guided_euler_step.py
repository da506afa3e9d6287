"""A guided step of Euler's method: the kernel against the reference in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from avctl.kernels import guided_euler_step as module
from avctl.kernels.guided_euler_step import BLOCK, Predict, guided_euler_step, guided_euler_step_reference

SHAPES = [(15, 7), (1, 1), (6, 120), (18, 1_000), (6, BLOCK // 2)]


def case(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x in float32, both outputs in `dtype`, and given."""
    generator = torch.Generator().manual_seed(sum(shape))
    x, wanted, unwanted = torch.randn(3, *shape, generator=generator)
    given = (torch.rand(shape[:1], generator=generator) < 0.3).float()
    given[0] = 0
    return x, wanted.to(dtype), unwanted.to(dtype), given


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("predict", ["velocity", "clean"])
@pytest.mark.parametrize("is_guided", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_reference(
    shape: tuple[int, ...], is_guided: bool, predict: Predict, dtype: torch.dtype, interpreted: None, guarded: None
) -> None:
    x, wanted, unwanted, given = case(shape, dtype)
    settings = 3.5 if is_guided else 1.0, 0.8, 0.125, predict
    other = unwanted if is_guided else None
    exact = guided_euler_step_reference(x.double(), wanted, other, given, *settings)
    eager = guided_euler_step_reference(x, wanted, other, given, *settings)
    made = guided_euler_step(x, wanted, other, given, *settings)
    allowed = 2 * (eager - exact).abs().max().clamp(min=torch.finfo(torch.float32).eps / 2 * exact.abs().max())
    assert made.dtype == torch.float32 and (made - exact).abs().max() <= allowed


@pytest.mark.parametrize("predict", ["velocity", "clean"])
def test_what_is_given_stays_whatever_the_network_says(predict: Predict, interpreted: None) -> None:
    x, wanted, unwanted, given = case((15, 7))
    wanted[given > 0] = torch.nan
    moved = guided_euler_step(x, wanted, unwanted, given, 3.5, 0.25, 0.125, predict)
    assert torch.equal(moved[given > 0], x[given > 0]) and (moved != x)[given == 0].all()


def test_a_clean_estimate_and_a_velocity_say_the_same(interpreted: None) -> None:
    noise, clean, _, given = case((15, 7))
    x = torch.lerp(noise, clean, 0.75)
    by_clean = guided_euler_step(x, clean, None, given, 1.0, 0.75, 0.125, "clean")
    by_velocity = guided_euler_step(x, clean - noise, None, given, 1.0, 0.75, 0.125, "velocity")
    assert torch.allclose(by_clean, by_velocity, atol=1e-6)


def test_a_clean_estimate_is_reached_at_the_end_of_the_path(interpreted: None) -> None:
    x, wanted, _, given = case((15, 7))
    moved = guided_euler_step(x, wanted, None, torch.zeros_like(given), 1.0, 0.75, 0.25, "clean")
    assert torch.allclose(moved, wanted, atol=1e-6)
    at_the_end = guided_euler_step(x, wanted, None, torch.zeros_like(given), 1.0, 1.0, 1e-3, "clean")
    assert torch.allclose(at_the_end, wanted, atol=1e-5)


def test_no_tokens_go_nowhere(interpreted: None, guarded: None) -> None:
    x, given = torch.zeros(0, 4), torch.zeros(0)
    assert guided_euler_step(x, x, x, given, 2.0, 0.5, 0.5, "clean").shape == (0, 4)


def test_tensors_that_are_apart_are_read_as_they_are(interpreted: None) -> None:
    x, wanted, unwanted, given = case((6, 8))
    expected = guided_euler_step(x, wanted, unwanted, given, 3.5, 0.25, 0.125, "velocity")
    apart = x.mT.contiguous().mT, torch.cat([wanted, wanted], 1)[:, :8]
    others = torch.stack([unwanted, unwanted], -1)[..., 0], torch.stack([given, given], -1)[:, 0]
    assert torch.equal(guided_euler_step(*apart, *others, 3.5, 0.25, 0.125, "velocity"), expected)


@pytest.mark.parametrize("is_guided", [True, False])
def test_it_is_an_operator_that_compiles_whole(is_guided: bool, interpreted: None) -> None:
    x, wanted, unwanted, given = case((15, 7), torch.bfloat16)
    other, guidance = (unwanted, 3.5) if is_guided else (None, 1.0)
    torch.library.opcheck(module._apply, (x, wanted, other, given, guidance, 0.125, True))

    def two(x: Tensor, wanted: Tensor) -> Tensor:
        ahead = guided_euler_step(x, wanted, other, given, guidance, 0.25, 0.125, "clean")
        return guided_euler_step(ahead, wanted, other, given, guidance, 0.375, 0.125, "clean")

    compiled = torch.compile(two, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, wanted), two(x, wanted))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("wanted", lambda x: x[1:], r"\(tokens, channels\) is needed, the same of all"),
        ("unwanted", lambda x: x.to("meta"), "x, wanted, unwanted are on different devices"),
        ("unwanted", lambda x: None, "guidance 3.5: without `unwanted` it is 1"),
        ("given", lambda x: x[1:], r"given \(14,\): one a token is needed, \(15,\)"),
        ("x", lambda x: x[:, :, None], r"\(tokens, channels\) is needed"),
        ("x", lambda x: x.int(), "x is of torch.int32"),
        ("wanted", lambda x: x.requires_grad_(), "wanted requires a gradient, and there is none"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    name: str, change: Callable[[Tensor], Tensor], words: str
) -> None:
    inputs: dict[str, Tensor] = dict(zip(("x", "wanted", "unwanted", "given"), case((15, 7)), strict=True))
    inputs[name] = change(inputs[name])
    with pytest.raises(ValueError, match=words):
        guided_euler_step(**inputs, guidance=3.5, t=0.25, step=0.125, predict="clean")
