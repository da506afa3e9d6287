"""The path ends where it should, both predictions have one loss, and only what is made is judged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avctl.diffusion import flow
from avctl.kernels.noise import noise_reference
from avctl.models.latents import Tracks
from avctl.models.packing import Clock, Grid, pack
from avctl.schema import Flow

VELOCITY, CLEAN = Flow(predict="velocity"), Flow(predict="clean", max_weight=1e9)
GRIDS = (Grid(4, 1, 1, 6), Grid(2, 3, 1, 0), Grid(4, 1, 1, 6))  # the second is mute
PACKING = pack(GRIDS, 2, Clock((1.0, 1.0), (0.0, 0.0)))
CLIP = Tracks(PACKING.video.of_tokens(14), PACKING.audio.of_tokens(12))  # of each token
SEEDS = flow.draw_seeds(3, torch.Generator().manual_seed(0))


def pair(seed: int = 0) -> Tracks:
    generator = torch.Generator().manual_seed(seed)
    return Tracks(torch.randn(14, 50, generator=generator), torch.randn(12, 7, generator=generator))


def noise() -> Tracks:
    """That of `SEEDS`."""
    lengths = [(grid.pictures, grid.sounds) for grid in GRIDS]
    parts = [
        [noise_reference(seeds[i : i + 1], torch.Size((lengths[i][k], x.shape[1])))[0] for i in range(3)]
        for k, (x, seeds) in enumerate(zip(pair(), SEEDS, strict=True))
    ]
    return Tracks(*map(torch.cat, parts))


def masks(value: float = 0.0) -> Tracks:
    return Tracks(torch.full((14,), value), torch.full((12,), value))


def shares(given: Tracks | None = None) -> Tracks:
    return flow.shares(given or masks(), PACKING)


def per_clip(x: Tracks, values: Tensor) -> Tracks:
    """`values` (3,) of clips, over the tokens of x."""
    return x.map(lambda x, clip: values[clip.long()][:, None].expand_as(x), CLIP)


def test_the_path_goes_from_noise_to_data() -> None:
    clean = pair()
    mixed = flow.mix(clean, torch.tensor([0.0, 0.25, 1.0]), masks(), SEEDS, PACKING)
    for x, c, n, clip in zip(mixed, clean, noise(), CLIP, strict=True):
        assert torch.equal(x[clip == 0], n[clip == 0]) and torch.equal(x[clip == 2], c[clip == 2])
        assert torch.allclose(x[clip == 1], 0.25 * c[clip == 1] + 0.75 * n[clip == 1], atol=1e-6)


def test_what_is_given_is_clean_at_every_time() -> None:
    clean, given = pair(), masks()
    given.video[[0, 3]] = 1
    for x in (flow.mix(clean, torch.zeros(3), given, SEEDS, PACKING), flow.start(clean, noise(), given)):
        assert torch.equal(x.video[[0, 3]], clean.video[[0, 3]]) and torch.equal(x.audio, noise().audio)
        assert torch.equal(x.video[1:3], noise().video[1:3]) and torch.equal(x.video[4:], noise().video[4:])


def test_every_clip_and_modality_has_noise_of_its_own() -> None:
    assert len(torch.cat(SEEDS).unique()) == 6
    again = flow.draw_seeds(3, torch.Generator().manual_seed(0)), flow.draw_seeds(3, torch.Generator().manual_seed(1))
    assert torch.equal(torch.cat(again[0]), torch.cat(SEEDS)) and not torch.equal(torch.cat(again[1]), torch.cat(SEEDS))


def test_both_predictions_have_the_same_loss() -> None:
    clean, t = pair(0), torch.tensor([0.1, 0.5, 0.9])
    estimate = clean.map(lambda x, y: x + 0.1 * y, pair(2))
    x = flow.mix(clean, t, masks(), SEEDS, PACKING)
    moved = estimate.map(lambda e, x, t: (e - x) / (1 - t), x, per_clip(x, t))
    rest = clean, t, shares(), SEEDS, PACKING
    losses = flow.loss(CLEAN, estimate, *rest), flow.loss(VELOCITY, moved, *rest)
    assert all(torch.allclose(a, b, rtol=1e-3) for a, b in zip(*losses, strict=True))


def test_the_loss_is_the_mean_squared_error_of_each_clip() -> None:
    clean = pair(0)
    output = clean.map(lambda c, n, far: c - n + far, noise(), per_clip(clean, torch.tensor([0.0, 1.0, 2.0])))
    losses = flow.loss(VELOCITY, output, clean, torch.rand(3), shares(), SEEDS, PACKING)
    assert torch.allclose(losses.video, torch.tensor([0.0, 1.0, 4.0]), atol=1e-5)
    assert torch.allclose(losses.audio, torch.tensor([0.0, 0.0, 4.0]), atol=1e-5)  # a mute clip has no loss of sound


@pytest.mark.parametrize("spec", [VELOCITY, CLEAN])
def test_what_is_given_is_not_judged(spec: Flow) -> None:
    clean, t, given = pair(0), torch.full((3,), 0.5), masks()
    given.audio[[0, 1, 6, 7]] = 1
    output = clean.map(lambda c, n: c - n if spec is VELOCITY else c + 0, noise())
    output.audio[[0, 1, 6, 7]] += 100
    assert torch.allclose(
        flow.loss(spec, output, clean, t, shares(given), SEEDS, PACKING).audio, torch.zeros(3), atol=1e-6
    )
    output.audio[[2, 8]] += 1  # one of the four that are free
    weight = 1.0 if spec is VELOCITY else 4.0  # 1 / (1 - t)^2
    losses = flow.loss(spec, output, clean, t, shares(given), SEEDS, PACKING)
    assert torch.allclose(losses.audio, torch.tensor([weight / 4, 0, weight / 4]), atol=1e-4)


def test_a_modality_that_is_given_whole_costs_nothing() -> None:
    losses = flow.loss(VELOCITY, pair(2), pair(0), torch.rand(3), shares(masks(1.0)), SEEDS, PACKING)
    assert not losses.video.any() and not losses.audio.any()


def test_the_weight_of_a_clean_estimate_is_capped() -> None:
    clean, t = pair(0), torch.tensor([0.5, 0.8, 0.999])
    output = clean.map(lambda c: c + 1)
    losses = flow.loss(Flow(predict="clean", max_weight=25.0), output, clean, t, shares(), SEEDS, PACKING)
    assert torch.allclose(losses.video, torch.tensor([4.0, 25.0, 25.0]), rtol=1e-4)


def test_free_tokens_of_a_clip_share_its_loss() -> None:
    given = masks()
    given.video[1:4] = given.video[10:] = 1
    assert torch.allclose(shares(given).video, torch.tensor([1.0, 0, 0, 0, *[1 / 6] * 6, 0, 0, 0, 0]))
    assert torch.allclose(shares(given).audio, torch.full((12,), 1 / 6))


def test_times_are_logit_normal() -> None:
    t = flow.draw_times(Flow(mean=-0.8, std=0.5), 20_000, torch.Generator().manual_seed(0))
    logits = torch.logit(t)
    assert float(logits.mean()) == pytest.approx(-0.8, abs=0.02) and float(logits.std()) == pytest.approx(0.5, abs=0.02)
