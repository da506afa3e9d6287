"""Guidance goes through the right number of model runs, and moves nothing that is given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from avctl.diffusion import flow
from avctl.diffusion.guidance import guided_velocity
from avctl.diffusion.solvers import Solver, integrate, times
from avctl.models.latents import Latents
from avctl.models.pretrained import Pretrained
from avctl.schema import Flow

SPEC = Flow(predict="clean")


@pytest.fixture
def x(tiny_model: Pretrained) -> Latents:
    layout, generator = tiny_model.generator.layout, torch.Generator().manual_seed(0)
    video = torch.randn(2, layout.video_frames, layout.video_channels, *layout.video_size, generator=generator)
    return Latents(video, torch.randn(2, layout.audio_frames, layout.audio_channels, generator=generator))


@pytest.fixture
def at(tiny_model: Pretrained, x: Latents) -> Callable[..., Latents]:
    """The velocity at t = 0.3 by prompts, negative prompts and guidance; nothing is given unless said."""
    model = tiny_model.generator

    def velocity(prompt: str, negative: str, guidance: float, given: Latents | None = None) -> Latents:
        given = given or x.map(lambda x: torch.zeros(x.shape[:2]))
        tokens, unwanted = (model.tokenize([text] * 2) for text in (prompt, negative))
        with torch.inference_mode():
            return guided_velocity(model, SPEC, given, tokens, unwanted, guidance)(x, 0.3)

    return velocity


def close(a: Latents, b: Latents) -> bool:
    return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))


def test_guidance_of_one_is_the_model_itself(tiny_model: Pretrained, x: Latents, at: Callable[..., Latents]) -> None:
    model, t = tiny_model.generator, torch.full((2,), 0.3)
    with torch.inference_mode():
        output = model(x, t, x.map(lambda x: torch.zeros(x.shape[:2])), model.tokenize(["a red ball"] * 2))
    plain = output.map(lambda out, x: flow.velocity(SPEC, out, x, t), x)
    assert close(at("a red ball", "blue", 1.0), plain)


def test_the_negative_prompt_matters_exactly_where_there_is_guidance(at: Callable[..., Latents]) -> None:
    assert close(at("red", "blue", 1.0), at("red", "green", 1.0))
    assert not close(at("red", "blue", 2.0), at("red", "green", 2.0))


def test_guidance_extrapolates_from_the_negative_prompt(at: Callable[..., Latents]) -> None:
    positive, negative = at("red", "", 1.0), at("blue", "", 1.0)
    assert not close(positive, negative)
    expected = negative.map(lambda n, p: n + 3 * (p - n), positive)
    assert close(at("red", "blue", 3.0), expected)
    assert close(at("red", "blue", 0.0), negative)


def test_a_prompt_that_is_its_own_negative_is_not_guided(at: Callable[..., Latents]) -> None:
    assert close(at("red", "red", 5.0), at("red", "", 1.0))


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_what_is_given_never_moves(tiny_model: Pretrained, x: Latents, solver: Solver, guidance: float) -> None:
    given = x.map(lambda x: torch.zeros(x.shape[:2]))
    given.video[0, :4], given.audio[1] = 1, 1
    model = tiny_model.generator
    tokens, negative = model.tokenize(["red", "blue"]), model.tokenize(["", ""])
    with torch.inference_mode():
        velocity = guided_velocity(model, SPEC, given, tokens, negative, guidance)
        end = integrate(solver, velocity, x, times(3, 2.0))
    assert torch.equal(end.video[0, :4], x.video[0, :4]) and torch.equal(end.audio[1], x.audio[1])
    assert (end.video[0, 4:] != x.video[0, 4:]).any(dim=(1, 2, 3)).all()
    assert (end.video[1] != x.video[1]).any(dim=(1, 2, 3)).all() and (end.audio[0] != x.audio[0]).any(dim=1).all()
