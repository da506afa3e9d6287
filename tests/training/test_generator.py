"""Batches are a function of the step, captions and tasks obey their rates, and a model learns from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

import pytest
import torch

from avctl.compute.threads import Threads
from avctl.data.collate import read_tokens
from avctl.data.order import Order
from avctl.kernels.noise import noise_reference
from avctl.models import pretrained
from avctl.models.latents import Tracks
from avctl.recipe import replace
from avctl.schema import Flow, Optim, Recipe, TaskMix, TrainGenerator
from avctl.store.reader import ClipRow, ClipStore, Place
from avctl.training.generator import Batch, GeneratorObjective, num_tokens
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
    latents = [[torch.from_numpy(store.read(place)) for place in places if place] for places in places_of(rows)]
    model.scale.fit(*latents)
    return GeneratorObjective(model, tiny.model_copy(update={"train": train}), store, rows, CPU)


def places_of(rows: Sequence[ClipRow]) -> list[list[Place | None]]:
    """Of the latents of pictures, and of sounds."""
    return [[row.video_latents for row in rows], [row.audio_latents for row in rows]]


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [*batch.clean, *batch.given, *batch.seeds, batch.t, batch.words, *batch.share]


def test_a_batch_is_a_function_of_its_step(tiny: Recipe, tiny_store: Path) -> None:
    first, second = objective(tiny, tiny_store), objective(tiny, tiny_store)
    batch = second.batch(7)
    first.batch(3)
    assert all(torch.equal(a, b) for a, b in zip(tensors(first.batch(7)), tensors(batch), strict=True))
    other = first.batch(8)
    assert not torch.equal(other.seeds.video, batch.seeds.video) and not torch.equal(other.t, batch.t)


def test_a_batch_holds_the_clips_of_its_order(tiny: Recipe, tiny_store: Path) -> None:
    made = objective(tiny, tiny_store)
    rows = [made.load.rows[i] for i in Order(9, tiny.seed).epoch(0)[8:] + Order(9, tiny.seed).epoch(1)[:3]]
    batch = made.batch(2)
    assert batch.grids == (made.model.patches.main,) * 4
    assert all(map(torch.equal, batch.clean, read_tokens(made.load.store, rows, made.model.patches)))


def test_captions_are_dropped_at_the_rates_of_the_recipe(tiny: Recipe, tiny_store: Path) -> None:
    always = objective(tiny, tiny_store, drop_caption=1.0, drop_caption_given=1.0)
    never = objective(tiny, tiny_store, drop_caption=0.0, drop_caption_given=0.0)
    assert not any(always.batch(step).words.any() for step in range(5))
    assert all(never.batch(step).words.any(dim=1).all() for step in range(5))
    mix = TaskMix(text_to_both=1, audio_to_video=1)
    mixed = objective(tiny, tiny_store, tasks=mix, drop_caption=0.0, drop_caption_given=1.0)
    for batch in map(mixed.batch, range(5)):
        assert torch.equal(batch.words.any(dim=1), ~batch.given.audio.view(len(batch.t), -1).any(dim=1))


def test_masks_follow_the_mix_of_tasks(tiny: Recipe, tiny_store: Path) -> None:
    batch = objective(tiny, tiny_store, tasks=TaskMix(text_to_both=0, image_to_video=1)).batch(0)
    assert batch.given.video.tolist() == [1, 0, 0, 0] * 4
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
    clean = made.model.scale(batch.clean).video
    velocity = clean - noise_of(batch).video
    assert figures["loss_video"].item() == pytest.approx(velocity.square().mean().item(), rel=1e-4)


def noise_of(batch: Batch) -> Tracks:
    """Of clips that are equally long."""

    def one(x: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return noise_reference(seeds, torch.Size((len(x) // len(seeds), x.shape[1]))).flatten(0, 1)

    return batch.clean.map(one, batch.seeds)


def test_the_model_is_shown_what_is_given_as_it_is_and_all_else_with_noise(tiny: Recipe, tiny_store: Path) -> None:
    made = objective(tiny, tiny_store, tasks=TaskMix(text_to_both=0, audio_to_video=1))
    shown: list[Tracks] = []
    made.model.register_forward_pre_hook(lambda model, inputs: shown.append(inputs[0]))
    batch = made.batch(0)
    made.loss(batch)
    clean, t = made.model.scale(batch.clean), batch.t.repeat_interleave(4)[:, None]
    assert torch.equal(shown[0].audio, clean.audio)
    assert torch.allclose(shown[0].video, t * clean.video + (1 - t) * noise_of(batch).video, atol=1e-6)


@pytest.mark.parametrize("predict", ["velocity", "clean"])
def test_it_learns(tiny: Recipe, tiny_store: Path, predict: str) -> None:
    mix = TaskMix(text_to_both=1, audio_to_video=1, video_to_audio=1)
    made = objective(tiny, tiny_store, flow=Flow(predict=predict), tasks=mix)  # pyright: ignore[reportArgumentType]
    optimizer = Optimizer(Optim(lr=5e-3, muon_lr=0.02, decay_from=1.0), made.model, 80, Threads(1))
    batch, losses = made.batch(0), []
    for step in range(80):
        loss, _ = made.loss(batch)
        loss.backward()

        optimizer.step(step, optimizer.norm())
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
        optimizer.step(step, optimizer.norm())
        assert loss.isfinite()


@pytest.fixture
def mixed(tiny: Recipe) -> Recipe:
    return replace(tiny, clip=replace(tiny.clip, other_seconds=(0.5,), other_sizes=((16, 32),)))


@pytest.fixture
def made(mixed: Recipe, tmp_path: Path, clips: Callable[[Path, Recipe], Path]) -> GeneratorObjective:
    """Of clips of four sizes: 7, 9, 14 and 18 tokens. A token is two latent frames of 2 x 2 cells, or two of sound."""
    return objective(mixed, clips(tmp_path, mixed), batch=4)


def test_packs_hold_clips_of_any_size_within_the_tokens_of_a_batch(made: GeneratorObjective) -> None:
    assert sorted(set(made.packs.lengths)) == [7, 9, 14, 18] and made.budget == 4 * 14 and made.num_sizes == 4
    unused, mixes = [], set()
    for step in range(len(made.packs.epoch(0))):
        batch = made.batch(step)
        tokens = sum(map(num_tokens, batch.grids))
        assert tokens == sum(map(len, batch.clean)) == sum(map(len, batch.given)) <= made.budget
        loss, figures = made.loss(batch)
        loss.backward()
        unused.append(figures["waste"].item())
        assert unused[-1] == pytest.approx(1 - tokens / made.budget)
        mixes.add(len(set(batch.grids)))
    assert max(mixes) > 1  # sizes in one pack
    assert made.packs.waste() == pytest.approx(sum(unused) / len(unused))


def test_every_clip_of_every_size_is_learnt_from_as_often(made: GeneratorObjective) -> None:
    steps = range(sum(len(made.packs.epoch(epoch)) for epoch in range(20)))
    counts = Counter(clip for step in steps for clip in made.packs(step))
    assert set(counts) == set(range(9)) and max(counts.values()) == 20 and min(counts.values()) >= 19


def test_a_clip_costs_in_a_pack_what_it_costs_alone(made: GeneratorObjective) -> None:
    batch = next(batch for batch in map(made.batch, range(4)) if len(set(batch.grids)) > 1)
    randomize(made)
    alone = [made.loss(made._clips(batch, slice(i, i + 1)))[0].item() for i in range(len(batch.grids))]
    assert made.loss(batch)[0].item() == pytest.approx(sum(alone) / len(alone), rel=1e-5)


@torch.no_grad()
def randomize(made: GeneratorObjective) -> None:
    """Where training starts from zeros, answers would be zero."""
    for parameter in made.model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))


def test_pictures_and_sounds_alone_are_learnt_from_by_their_captions(made: GeneratorObjective, mixed: Recipe) -> None:
    store, rows = made.load.store, made.load.rows
    alone = [with_fields(rows[0], audio_latents=None), with_fields(rows[1], video_latents=None), *rows[2:]]
    mix = TrainGenerator(
        steps=1, batch=40, dtype="float32", tasks=TaskMix(text_to_both=0, video_to_audio=1), drop_caption=0.0,
        drop_caption_given=1.0,
    )  # fmt: skip
    all_of_them = GeneratorObjective(made.model, mixed.model_copy(update={"train": mix}), store, alone, CPU)
    batch = all_of_them.batch(0)
    is_alone = [not (grid.pictures and grid.sounds) for grid in batch.grids]
    assert 0 < sum(is_alone) < len(is_alone)
    assert batch.words.any(dim=1).tolist() == is_alone
    given = batch.given.video.split([grid.pictures for grid in batch.grids])
    assert [not mask.any() for mask in given] == is_alone
    mute, dark = ([grid[which] for grid in batch.grids].index(0) for which in (3, 0))
    randomize(made)
    for clip, other in ((mute, "loss_audio"), (dark, "loss_video")):
        loss, figures = all_of_them.loss(all_of_them._clips(batch, slice(clip, clip + 1)))
        assert loss > 0 and figures[other] == 0


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_parts_of_a_batch_are_the_whole_batch(tiny: Recipe, tiny_store: Path, count: int) -> None:
    made = objective(tiny, tiny_store)
    batch = made.batch(0)
    parts = made.split(batch, count)
    assert len(parts) == min(count, 4)
    joined = [torch.cat(pieces) for pieces in zip(*(tensors(part) for part, _ in parts), strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(joined, tensors(batch), strict=True))
    whole, _ = made.loss(batch)
    assert sum(share * made.loss(part)[0].item() for part, share in parts) == pytest.approx(whole.item(), rel=1e-4)


def test_parts_of_a_pack_have_about_as_many_tokens(made: GeneratorObjective) -> None:
    batch = made.batch(0)
    (first, _), (second, _) = made.split(batch, 2)
    assert first.grids + second.grids == batch.grids
    tokens = [sum(map(num_tokens, part.grids)) for part in (first, second)]
    assert abs(tokens[0] - tokens[1]) <= 18
