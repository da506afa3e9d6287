"""Frames of random clips, as many as asked for; a codec that starts from PCA gets better than that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.compute.threads import Threads
from avctl.recipe import replace
from avctl.schema import Clip, FrameAutoencoder, Optim, Preprocess, Recipe, TrainAutoencoder
from avctl.store.reader import ClipStore
from avctl.training.autoencoder import AutoencoderObjective, psnr
from avctl.training.optim import Optimizer

Make = Callable[..., AutoencoderObjective]


@pytest.fixture
def objective(tiny: Recipe, tmp_path: Path, clips: Callable[[Path, Recipe], Path]) -> Make:
    def make(batch: int = 16, clip: Clip | None = None) -> AutoencoderObjective:
        recipe = tiny.model_copy(
            update={
                "clip": clip or tiny.clip,
                "preprocess": Preprocess(),
                "model": FrameAutoencoder(down=8, channels=3, width=16),
                "train": TrainAutoencoder(steps=60, batch=batch, dtype="float32", latent_noise=0.0),
            }
        )
        store = ClipStore(tmp_path if (tmp_path / "index.sqlite").exists() else clips(tmp_path, recipe))
        assert isinstance(recipe.model, FrameAutoencoder)
        torch.manual_seed(0)
        model = FrameAutoencoderCodec(recipe.model)
        return AutoencoderObjective(model, recipe, store, store.clips("train"), torch.device("cpu"))

    return make


@pytest.mark.parametrize("batch", [1, 5, 8, 16, 20])
def test_a_batch_has_as_many_frames_as_asked_for(objective: Make, batch: int) -> None:
    frames = objective(batch).batch(0).frames
    assert frames.shape == (batch, 3, 16, 16) and frames.abs().max() <= 1


def test_frames_of_a_batch_have_one_size_and_together_no_more_pixels_than_asked_for(
    objective: Make, tiny: Recipe
) -> None:
    made = objective(16, replace(tiny.clip, other_seconds=(0.5,), other_sizes=((16, 32),)))
    made.start()
    shapes = set()
    for step in range(12):
        batch = made.batch(step)
        made.loss(batch)[0].backward()
        assert batch.frames.shape[0] == 16 * 16 * 16 // (16 * batch.frames.shape[3])
        shapes.add(tuple(batch.frames.shape))
    assert shapes == {(16, 3, 16, 16), (8, 3, 16, 32)}


def test_a_batch_is_a_function_of_its_step(objective: Make) -> None:
    made = objective()
    third = made.batch(3)
    assert all(torch.equal(a, b) for a, b in zip(objective().batch(3), third, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(made.batch(4), third, strict=True))


def test_frames_of_a_clip_are_all_different(objective: Make) -> None:
    frames = objective(8).batch(0).frames
    assert len(torch.unique(frames.flatten(1), dim=0)) == 8


def test_it_gets_better_than_the_best_linear_code(objective: Make) -> None:
    made = objective()
    made.start()
    with torch.no_grad():
        first = made.loss(made.batch(0))[1]["psnr"]
    optimizer = Optimizer(Optim(lr=3e-3, decay_from=1.0), made.model, 60, Threads(1))
    for step in range(60):
        loss, _ = made.loss(made.batch(step))
        loss.backward()
        optimizer.step(step, optimizer.norm())
    with torch.no_grad():
        last = made.loss(made.batch(0))[1]["psnr"]
    assert last > first + 1.5  # dB


def test_noise_on_the_latents_is_that_of_the_step(objective: Make) -> None:
    made = objective()
    made.start()
    made.spec = made.spec.model_copy(update={"latent_noise": 0.5})
    batch = made.batch(0)
    noises = [made.batch(step).noise for step in (0, 1, 0)]
    losses = [made.loss(batch._replace(noise=noise))[0].item() for noise in noises]
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_parts_of_a_batch_are_the_whole_batch(objective: Make, count: int) -> None:
    batch = objective(16).batch(0)
    parts = objective(16).split(batch, count)
    assert torch.equal(torch.cat([part.frames for part, _ in parts]), batch.frames)
    assert torch.equal(torch.cat([part.noise for part, _ in parts]), batch.noise)
    assert [share for _, share in parts] == [len(part.frames) / 16 for part, _ in parts]


def test_psnr_is_relative_to_the_range_of_pixels() -> None:
    assert psnr(torch.tensor(4.0)).item() == 0 and psnr(torch.tensor(0.04)).item() == pytest.approx(20)
