"""Guidance goes through the right number of model runs, and moves nothing that is given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from avctl.diffusion.guidance import guided_step
from avctl.diffusion.solvers import Solver, integrate, times
from avctl.models.latents import Tracks
from avctl.models.patches import Patches
from avctl.models.pretrained import Pretrained
from avctl.schema import Flow

SPEC = Flow(predict="clean")


@pytest.fixture
def patches(tiny_model: Pretrained) -> Patches:
    return tiny_model.generator.patches


@pytest.fixture
def x(patches: Patches) -> Tracks:
    """Tokens of two clips."""
    (p, q), grid, generator = patches.sizes, patches.main, torch.Generator().manual_seed(0)
    video = torch.randn(2 * grid.pictures, p, generator=generator)
    return Tracks(video, torch.randn(2 * grid.sounds, q, generator=generator))


@pytest.fixture
def at(tiny_model: Pretrained, x: Tracks, patches: Patches) -> Callable[..., Tracks]:
    """Where a step from t = 0.3 to 0.5 leads by prompts, negative prompts and guidance; nothing is given."""
    model = tiny_model.generator

    def moved(prompt: str, negative: str, guidance: float) -> Tracks:
        given = x.map(lambda x: torch.zeros(len(x)))
        tokens, unwanted = (model.tokenize([text] * 2) for text in (prompt, negative))
        with torch.inference_mode():
            return guided_step(model, SPEC, [patches.main] * 2, given, tokens, unwanted, guidance)(x, 0.3, 0.2)

    return moved


def close(a: Tracks, b: Tracks) -> bool:
    return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(a, b, strict=True))


def test_guidance_of_one_is_the_model_itself(tiny_model: Pretrained, x: Tracks, at: Callable[..., Tracks]) -> None:
    model, t = tiny_model.generator, torch.full((2,), 0.3)
    with torch.inference_mode():
        packing, words = model.pack([model.patches.main] * 2), model.tokenize(["a red ball"] * 2)
        output = model(x, t, x.map(lambda x: torch.zeros(len(x))), words, packing)
    plain = output.map(lambda out, x: x + 0.2 * (out - x) / 0.7, x)
    assert close(at("a red ball", "blue", 1.0), plain)


def test_the_negative_prompt_matters_exactly_where_there_is_guidance(at: Callable[..., Tracks]) -> None:
    assert close(at("red", "blue", 1.0), at("red", "green", 1.0))
    assert not close(at("red", "blue", 2.0), at("red", "green", 2.0))


def test_guidance_extrapolates_from_the_negative_prompt(at: Callable[..., Tracks]) -> None:
    positive, negative = at("red", "", 1.0), at("blue", "", 1.0)
    assert not close(positive, negative)
    expected = negative.map(lambda n, p: n + 3 * (p - n), positive)
    assert close(at("red", "blue", 3.0), expected)
    assert close(at("red", "blue", 0.0), negative)


def test_a_prompt_that_is_its_own_negative_is_not_guided(at: Callable[..., Tracks]) -> None:
    assert close(at("red", "red", 5.0), at("red", "", 1.0))


@pytest.mark.parametrize("solver", ["euler", "heun"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_what_is_given_never_moves(tiny_model: Pretrained, x: Tracks, solver: Solver, guidance: float) -> None:
    given = x.map(lambda x: torch.zeros(len(x)))
    given.video[:2], given.audio[len(x.audio) // 2 :] = 1, 1
    model = tiny_model.generator
    tokens, negative = model.tokenize(["red", "blue"]), model.tokenize(["", ""])
    with torch.inference_mode():
        advance = guided_step(model, SPEC, [model.patches.main] * 2, given, tokens, negative, guidance)
        end = integrate(solver, advance, x, times(3, 2.0))
    for moved, before, mask in zip(end, x, given, strict=True):
        assert torch.equal(moved[mask > 0], before[mask > 0])
        assert (moved != before)[mask == 0].any(dim=1).all()
