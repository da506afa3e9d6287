"""Batches are a function of the step, captions and tasks obey their rates, and a model learns from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from avctl.compute.threads import Threads
from avctl.data.order import Order
from avctl.models import pretrained
from avctl.models.latents import Latents
from avctl.recipe import replace
from avctl.schema import Flow, Optim, Recipe, TaskMix, TrainGenerator
from avctl.store.reader import ClipStore
from avctl.training.generator import Batch, GeneratorObjective
from avctl.training.optim import Optimizer

CPU = torch.device("cpu")


def objective(tiny: Recipe, artifact: Path, **fields: Any) -> GeneratorObjective:
    """That of `tiny` with some fields of its train section changed, at its first weights, its scale set."""
    train = TrainGenerator(**{"steps": 6, "batch": 4, "dtype": "float32", **fields})
    store = ClipStore(artifact)
    rows = store.clips("train")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = pretrained.untrained(tiny.model_copy(update={"train": train}), None).generator
    model.scale.fit([Latents(*(torch.from_numpy(x).float() for x in store.latents([row]))) for row in rows])
    return GeneratorObjective(model, tiny.model_copy(update={"train": train}), store, rows, CPU)


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [*batch.clean, *batch.noise, batch.t, *batch.given, batch.tokens]


def test_a_batch_is_a_function_of_its_step(tiny: Recipe, tiny_store: Path) -> None:
    first, second = objective(tiny, tiny_store), objective(tiny, tiny_store)
    batch = second.batch(7)
    first.batch(3)
    assert all(torch.equal(a, b) for a, b in zip(tensors(first.batch(7)), tensors(batch), strict=True))
    other = first.batch(8)
    assert not torch.equal(other.noise.video, batch.noise.video) and not torch.equal(other.t, batch.t)


def test_a_batch_holds_the_clips_of_its_order(tiny: Recipe, tiny_store: Path) -> None:
    made = objective(tiny, tiny_store)
    rows = [made.load.rows[i] for i in Order(9, tiny.seed).epoch(0)[8:] + Order(9, tiny.seed).epoch(1)[:3]]
    video, audio = made.load.store.latents(rows)
    batch = made.batch(2)
    assert torch.equal(batch.clean.video, torch.from_numpy(video).float())
    assert torch.equal(batch.clean.audio, torch.from_numpy(audio).float())


def test_captions_are_dropped_at_the_rates_of_the_recipe(tiny: Recipe, tiny_store: Path) -> None:
    always = objective(tiny, tiny_store, drop_caption=1.0, drop_caption_given=1.0)
    never = objective(tiny, tiny_store, drop_caption=0.0, drop_caption_given=0.0)
    assert not any(always.batch(step).tokens.any() for step in range(5))
    assert all(never.batch(step).tokens.any(dim=1).all() for step in range(5))
    mix = TaskMix(text_to_both=1, audio_to_video=1)
    mixed = objective(tiny, tiny_store, tasks=mix, drop_caption=0.0, drop_caption_given=1.0)
    for batch in map(mixed.batch, range(5)):
        assert torch.equal(batch.tokens.any(dim=1), ~batch.given.audio.any(dim=1))


def test_masks_follow_the_mix_of_tasks(tiny: Recipe, tiny_store: Path) -> None:
    batch = objective(tiny, tiny_store, tasks=TaskMix(text_to_both=0, image_to_video=1)).batch(0)
    assert batch.given.video.tolist() == [[1, 1, 0, 0, 0, 0, 0, 0]] * 4  # one token of two frames
    assert not batch.given.audio.any()


def test_the_loss_weighs_sound_as_the_recipe_says(tiny: Recipe, tiny_store: Path) -> None:
    for weight in (1.0, 3.0):
        made = objective(tiny, tiny_store, flow=Flow(audio_weight=weight))
        loss, figures = made.loss(made.batch(0))
        assert loss.item() == pytest.approx((figures["loss_video"] + weight * figures["loss_audio"]).item(), rel=1e-5)


def test_at_first_the_loss_is_that_of_saying_nothing(tiny: Recipe, tiny_store: Path) -> None:
    made = objective(tiny, tiny_store)
    batch = made.batch(0)
    _, figures = made.loss(batch)
    velocity = made.model.scale(batch.clean).video - batch.noise.video
    assert figures["loss_video"].item() == pytest.approx(velocity.square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("predict", ["velocity", "clean"])
def test_it_learns(tiny: Recipe, tiny_store: Path, predict: str) -> None:
    mix = TaskMix(text_to_both=1, audio_to_video=1, video_to_audio=1)
    made = objective(tiny, tiny_store, flow=Flow(predict=predict), tasks=mix)  # pyright: ignore[reportArgumentType]
    optimizer = Optimizer(Optim(lr=5e-3, muon_lr=0.02, decay_from=1.0), made.model, 80, Threads(1))
    batch, losses = made.batch(0), []
    for step in range(80):
        loss, _ = made.loss(batch)
        loss.backward()
        optimizer.clip()
        optimizer.step(step)
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5


@pytest.mark.gpu
def test_a_gpu_goes_on_from_saved_state(tiny: Recipe, tiny_store: Path) -> None:
    made = objective(tiny, tiny_store)
    made.device = torch.device("cuda")
    made.model.to("cuda")
    optimizer = Optimizer(Optim(lr=1e-3, muon_lr=0.02), made.model, 6, Threads(1))
    for step in range(4):
        if step == 2:
            saved = {name: tensor.cpu() for name, tensor in optimizer.tensors().items()}
            optimizer = Optimizer(Optim(lr=1e-3, muon_lr=0.02), made.model, 6, Threads(1))
            optimizer.load(saved)
        loss, _ = made.loss(made.batch(step))
        loss.backward()
        optimizer.step(step)
        assert loss.isfinite()


@pytest.fixture
def mixed(tiny: Recipe) -> Recipe:
    return replace(tiny, clip=replace(tiny.clip, other_seconds=(0.5,), other_sizes=((16, 32),)))


def test_batches_of_many_buckets_have_the_tokens_of_one(
    mixed: Recipe, tmp_path: Path, clips: Callable[[Path, Recipe], Path]
) -> None:
    """A token is two latent frames of 2 x 2 cells, or two of sound; the main bucket has 4 + 10, the others fewer or
    more."""
    made = objective(mixed, clips(tmp_path, mixed), batch=4)
    assert sorted(made.tokens.values()) == [7, 9, 14, 18] and made.budget == 4 * 14
    shapes = set()
    for step in range(12):
        batch = made.batch(step)
        tokens = batch.clean.video[0, ::2, 0, ::2, ::2].numel() + batch.clean.audio.shape[1] // 2
        assert len(batch.t) == made.budget // tokens
        assert all(mask.shape == x.shape[:2] for mask, x in zip(batch.given, batch.clean, strict=True))
        loss, figures = made.loss(batch)
        loss.backward()
        assert figures["waste"].item() == pytest.approx(1 - len(batch.t) * tokens / made.budget)
        shapes.add(batch.clean.video.shape[1:])
    assert len(shapes) == 4
    used = {7: 8 * 7, 9: 6 * 9, 14: 4 * 14, 18: 3 * 18}
    per_epoch = {tokens: sum(made.counts[b] for b, t in made.tokens.items() if t == tokens) for tokens in used}
    batches = {tokens: count / (used[tokens] // tokens) for tokens, count in per_epoch.items()}
    unused = sum(batches[tokens] * (made.budget - used[tokens]) for tokens in used)
    assert made.waste == pytest.approx(unused / (made.budget * sum(batches.values())))


def test_every_clip_of_every_bucket_is_learnt_from_as_often(
    mixed: Recipe, tmp_path: Path, clips: Callable[[Path, Recipe], Path]
) -> None:
    made = objective(mixed, clips(tmp_path, mixed))
    batches = made.load.batches
    seen = Counter(clip for number in range(batches.before(24)) for clip in batches(number))
    assert seen == dict.fromkeys(range(9), 24)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_parts_of_a_batch_are_the_whole_batch(tiny: Recipe, tiny_store: Path, count: int) -> None:
    made = objective(tiny, tiny_store)
    batch = made.batch(0)
    parts = made.split(batch, count)
    joined = [torch.cat(pieces) for pieces in zip(*(tensors(part) for part, _ in parts), strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(joined, tensors(batch), strict=True))
    whole, _ = made.loss(batch)
    assert sum(share * made.loss(part)[0].item() for part, share in parts) == pytest.approx(whole.item(), rel=1e-4)
