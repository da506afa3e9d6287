"""The path ends where it should, both predictions are one velocity, and only what is made is judged."""

from __future__ import annotations

import pytest
import torch

from avctl.diffusion import flow
from avctl.models.latents import Latents
from avctl.schema import Flow

VELOCITY, CLEAN = Flow(predict="velocity"), Flow(predict="clean", max_weight=1e9)


def pair(seed: int = 0) -> Latents:
    generator = torch.Generator().manual_seed(seed)
    return Latents(torch.randn(3, 4, 2, 5, 5, generator=generator), torch.randn(3, 6, 7, generator=generator))


def masks(value: float = 0.0) -> Latents:
    return Latents(torch.full((3, 4), value), torch.full((3, 6), value))


def test_the_path_goes_from_noise_to_data() -> None:
    clean, noise = pair(0).audio, pair(1).audio
    given = torch.zeros(3, 6)
    mixed = flow.mix(clean, noise, torch.tensor([0.0, 0.25, 1.0]), given)
    assert torch.equal(mixed[0], noise[0]) and torch.equal(mixed[2], clean[2])
    assert torch.allclose(mixed[1], 0.25 * clean[1] + 0.75 * noise[1], atol=1e-6)


def test_what_is_given_is_clean_at_every_time() -> None:
    clean, noise = pair(0).video, pair(1).video
    given = torch.tensor([[1.0, 0, 0, 1]]).expand(3, -1)
    mixed = flow.mix(clean, noise, torch.zeros(3), given)
    assert torch.equal(mixed[:, [0, 3]], clean[:, [0, 3]]) and torch.equal(mixed[:, 1:3], noise[:, 1:3])


def test_a_clean_estimate_and_a_velocity_say_the_same() -> None:
    clean, noise, t = pair(0).video, pair(1).video, torch.tensor([0.1, 0.5, 0.9])
    x = flow.mix(clean, noise, t, torch.zeros(3, 4))
    from_clean, from_velocity = flow.velocity(CLEAN, clean, x, t), flow.velocity(VELOCITY, clean - noise, x, t)
    assert torch.allclose(from_clean, from_velocity, atol=1e-4)
    assert torch.equal(from_velocity, clean - noise)


def test_the_velocity_stays_finite_at_the_end_of_the_path() -> None:
    clean = pair().audio
    assert flow.velocity(CLEAN, clean + 0.1, clean, torch.ones(3)).isfinite().all()


def test_both_predictions_have_the_same_loss() -> None:
    clean, noise, t = pair(0), pair(1), torch.tensor([0.1, 0.5, 0.9])
    estimate = clean.map(lambda x, y: x + 0.1 * y, pair(2))
    x = clean.map(lambda c, n: flow.mix(c, n, t, torch.zeros(c.shape[:2])), noise)
    moved = estimate.map(lambda e, x: flow.velocity(CLEAN, e, x, t), x)
    losses = flow.loss(CLEAN, estimate, clean, noise, t, masks()), flow.loss(VELOCITY, moved, clean, noise, t, masks())
    assert all(torch.allclose(a, b, rtol=1e-3) for a, b in zip(*losses, strict=True))


def test_the_loss_is_the_mean_squared_error_of_each_clip() -> None:
    clean, noise = pair(0), pair(1)
    output = clean.map(lambda c, n: c - n + torch.tensor([0.0, 1.0, 2.0]).view(-1, *[1] * (c.ndim - 1)), noise)
    losses = flow.loss(VELOCITY, output, clean, noise, torch.rand(3), masks())
    for each in losses:
        assert torch.allclose(each, torch.tensor([0.0, 1.0, 4.0]), atol=1e-5)


@pytest.mark.parametrize("spec", [VELOCITY, CLEAN])
def test_what_is_given_is_not_judged(spec: Flow) -> None:
    clean, noise, t, given = pair(0), pair(1), torch.full((3,), 0.5), masks()
    given.audio[:, :2] = 1
    output = clean.map(lambda c, n: c - n if spec is VELOCITY else c + 0, noise)
    output.audio[:, :2] += 100
    assert torch.allclose(flow.loss(spec, output, clean, noise, t, given).audio, torch.zeros(3), atol=1e-6)
    output.audio[:, 2] += 1  # one of the four that are free
    weight = 1.0 if spec is VELOCITY else 4.0  # 1 / (1 - t)^2
    losses = flow.loss(spec, output, clean, noise, t, given)
    assert torch.allclose(losses.audio, torch.full((3,), weight / 4), atol=1e-4)


def test_a_modality_that_is_given_whole_costs_nothing() -> None:
    losses = flow.loss(VELOCITY, pair(2), pair(0), pair(1), torch.rand(3), masks(1.0))
    assert not losses.video.any() and not losses.audio.any()


def test_the_weight_of_a_clean_estimate_is_capped() -> None:
    clean, noise, t = pair(0), pair(1), torch.tensor([0.5, 0.8, 0.999])
    output = clean.map(lambda c: c + 1)
    losses = flow.loss(Flow(predict="clean", max_weight=25.0), output, clean, noise, t, masks())
    assert torch.allclose(losses.video, torch.tensor([4.0, 25.0, 25.0]), rtol=1e-4)


def test_times_are_logit_normal() -> None:
    t = flow.draw_times(Flow(mean=-0.8, std=0.5), 20_000, torch.Generator().manual_seed(0))
    logits = torch.logit(t)
    assert float(logits.mean()) == pytest.approx(-0.8, abs=0.02) and float(logits.std()) == pytest.approx(0.5, abs=0.02)
