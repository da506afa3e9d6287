"""All ways take the step of training from the same weights on the same clips, and the bench has a row for each."""

from __future__ import annotations

import pytest
import torch

from avctl.compute.threads import Threads
from avctl.recipe import replace
from benches import step
from benches.step import Objective, Plain, Setting, Training


@pytest.fixture
def small() -> Setting:
    """The tiny model on four clips, without Muon."""
    setting = next(step._settings())
    optim = replace(setting.train.optim, muon_lr=None, warmup_steps=0, decay_from=1.0, weight_decay=0.1)
    return setting._replace(train=replace(setting.train, batch=4, optim=optim))


def test_avctl_and_plain_pytorch_take_the_same_steps(small: Setting) -> None:
    with Threads(2) as threads:
        ours, plain = Training(small, "float32", threads), Plain(small)
        losses = [(float(ours.step()), float(plain.step())) for _ in range(3)]
    assert all(a == pytest.approx(b, rel=1e-4) for a, b in losses) and losses[2][0] < losses[0][0]
    for a, b in zip(ours.objective.model.parameters(), plain.weights, strict=True):
        assert (a - b).norm() <= 0.02 * b.norm() + 1e-3
    assert all(torch.isfinite(average).all() for average in plain.averages)
    assert not torch.equal(next(iter(ours.ema.weights.values())), next(iter(ours.objective.model.parameters())))


def test_a_batch_has_the_tasks_of_the_recipe_and_splits_as_in_training(small: Setting) -> None:
    objective = Objective(small, "float32")
    batch = objective.batch(0)
    assert batch.given.video.any() or batch.given.audio.any()
    parts = objective.split(batch, 2)
    assert [share for _, share in parts] == [0.5, 0.5]
    whole, halves = objective.loss(batch)[0].item(), sum(s * objective.loss(part)[0].item() for part, s in parts)
    assert whole == pytest.approx(halves, rel=1e-5)


def test_every_way_of_both_passes_runs(small: Setting) -> None:
    names = ["avctl", "bfloat16 on PyTorch's threads", "plain float32"]
    with Threads(1) as threads:
        for ways in (step.training(small, threads), step.sampling(small)):
            assert [*ways] == names
            for way in ways.values():
                way()


def test_both_models_are_there() -> None:
    assert [(setting.name, setting.train.batch) for setting in step._settings()] == [("tiny", 24), ("384 channels", 2)]
