"""Tokens stand where they belong, and what is given is only conditioned on, never asked at a noise level."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avctl.models.joint_dit import JointTransformer, Patches
from avctl.models.latents import Latents, Layout
from avctl.schema import JointDiT

SPEC = JointDiT(width=32, num_dual=1, num_single=1, heads=2, video_patch=(2, 2, 2), audio_patch=5)
LAYOUT = Layout(
    video_frames=8, video_channels=3, video_size=(4, 6), video_rate=16.0,
    audio_frames=20, audio_channels=4, audio_rate=40.0
)  # fmt: skip


def latents(batch: int = 2, layout: Layout = LAYOUT) -> Latents:
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(batch, layout.video_frames, 3, *layout.video_size, generator=generator)
    return Latents(video, torch.randn(batch, layout.audio_frames, 4, generator=generator))


def nothing_given(batch: int = 2) -> Latents:
    return Latents(torch.zeros(batch, 8), torch.zeros(batch, 20))


def text(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 5, 32, generator=generator), torch.randn(batch, 32, generator=generator)


@pytest.fixture
def model() -> JointTransformer:
    """With random weights where training starts from zeros."""
    torch.manual_seed(0)
    model = JointTransformer(SPEC, LAYOUT).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def difference(a: Latents, b: Latents) -> float:
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))


def test_a_new_transformer_answers_zero() -> None:
    out = JointTransformer(SPEC, LAYOUT)(latents(), torch.rand(2), nothing_given(), *text())
    assert out.video.shape == (2, 8, 3, 4, 6) and out.audio.shape == (2, 20, 4)
    assert not out.video.any() and not out.audio.any()


@pytest.mark.parametrize("patch", [(1, 1, 1), (2, 2, 2), (4, 1, 3), (8, 4, 6)])
def test_joining_undoes_splitting(patch: tuple[int, int, int]) -> None:
    patches = Patches(SPEC.model_copy(update={"video_patch": patch}), LAYOUT)
    back = patches.join(*patches.split(latents()), latents())
    assert difference(back, latents()) == 0


def test_tokens_go_by_time_then_row_then_column() -> None:
    video = torch.zeros(1, 8, 3, 4, 6)
    for f, y, x in torch.cartesian_prod(torch.arange(8), torch.arange(4), torch.arange(6)).tolist():
        video[0, f, :, y, x] = 100 * (f // 2) + 10 * (y // 2) + x // 2
    audio = (torch.arange(20) // 5).float()[None, :, None].expand(1, 20, 4)
    tokens, sounds = Patches(SPEC, LAYOUT).split(Latents(video, audio))
    assert tokens.shape == (1, 4 * 2 * 3, 2 * 3 * 2 * 2) and sounds.shape == (1, 4, 20)
    order = [100 * f + 10 * y + x for f in range(4) for y in range(2) for x in range(3)]
    assert torch.equal(tokens[0], torch.tensor(order, dtype=torch.float)[:, None].expand(-1, 24))
    assert torch.equal(sounds[0], torch.arange(4.0)[:, None].expand(-1, 20))


def test_positions_are_middles_in_seconds_and_places() -> None:
    video, audio = Patches(SPEC, LAYOUT).positions(latents())
    assert video.shape == (24, 3) and audio.shape == (4, 3)
    assert torch.allclose(video[::6, 0], (torch.arange(4) + 0.5) * 2 / 16)  # two frames a token, 16 a second
    assert video[:6, 1:].tolist() == [[y, x] for y in range(2) for x in range(3)]
    assert torch.equal(video[6:12, 1:], video[:6, 1:])
    assert torch.allclose(audio[:, 0], (torch.arange(4) + 0.5) * 5 / 40)  # five frames a token, 40 a second
    assert not audio[:, 1:].any()


def test_sound_may_begin_before_the_picture() -> None:
    early = replace(LAYOUT, audio_start_s=-0.0125)
    audio = Patches(SPEC, early).positions(latents()).audio
    assert torch.allclose(audio[:, 0], (torch.arange(4) + 0.5) * 5 / 40 - 0.0125)


def test_sound_and_picture_of_one_moment_stand_at_one_time() -> None:
    video, audio = Patches(SPEC, LAYOUT).positions(latents())
    assert torch.equal(video[::6, 0], audio[:, 0])  # both tokens last an eighth of a second


def test_clips_of_another_length_and_size_are_split_and_placed_by_their_own_shape(model: JointTransformer) -> None:
    other = latents(layout=replace(LAYOUT, video_frames=4, video_size=(6, 2), audio_frames=10))
    assert difference(model.patches.join(*model.patches.split(other), other), other) == 0
    video, audio = model.patches.positions(other)
    assert video[:, 1:].tolist() == [[y, 0] for _ in range(2) for y in range(3)]
    assert torch.equal(video[::3, 0], model.patches.positions(latents()).video[:12:6, 0])
    assert torch.equal(audio, model.patches.positions(latents()).audio[:2])
    given = Latents(torch.tensor([[0.0, 0, 1, 1]] * 2), torch.zeros(2, 10))
    assert model.patches.masks(given, other)[0].tolist() == [[0, 0, 0, 1, 1, 1]] * 2
    out = model(other, torch.rand(2), given, *text())
    assert out.video.shape == other.video.shape and out.audio.shape == other.audio.shape


@pytest.mark.parametrize(
    "change", [{"video_patch": (3, 2, 2)}, {"video_patch": (2, 3, 2)}, {"video_patch": (2, 2, 4)}, {"audio_patch": 3}]
)
def test_patches_that_do_not_divide_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"does not divide (latents of 8 x 4 x 6|20 latent frames)"):
        Patches(SPEC.model_copy(update=change), LAYOUT)


def test_time_has_no_influence_on_what_is_given(model: JointTransformer) -> None:
    everything = nothing_given().map(torch.ones_like)
    early, late = (model(latents(), torch.full((2,), t), everything, *text()) for t in (0.1, 0.9))
    assert difference(early, late) == 0
    assert difference(*(model(latents(), torch.full((2,), t), nothing_given(), *text()) for t in (0.1, 0.9))) > 1e-2


def test_given_and_free_are_told_apart(model: JointTransformer) -> None:
    given = Latents(torch.ones(2, 8), torch.zeros(2, 20))
    t = torch.full((2,), 0.3)
    assert difference(model(latents(), t, given, *text()), model(latents(), t, nothing_given(), *text())) > 1e-2


def test_a_summary_of_what_is_given_reaches_every_token(model: JointTransformer) -> None:
    given = Latents(torch.zeros(2, 8), torch.ones(2, 20))
    tokens, masks = model.patches.split(latents()), model.patches.masks(given, latents())
    summary = [module(x, mask) for module, x, mask in zip(model.summarize, tokens, masks, strict=True)]
    assert summary[1].shape == (2, 32) and (summary[1][0] - summary[1][1]).abs().max() > 1e-3
    of_nothing = model.summarize[0](torch.zeros(1, 24, 24), torch.zeros(1, 24))
    assert torch.allclose(summary[0], of_nothing.expand(2, -1))  # what is free is not looked at


def test_every_token_belongs_to_the_group_of_its_frame(model: JointTransformer) -> None:
    given = nothing_given(1)
    given.video[0, 2:4] = 1  # the second video token in time
    given.audio[0, 15:] = 1  # the last audio token
    _, video, audio = model._groups(torch.rand(1), model.patches.masks(given, latents(1)), text(1)[1], 5)
    assert video.member[0, :, 1].nonzero().flatten().tolist() == list(range(6, 12))
    assert audio.member[0, :, 1].nonzero().flatten().tolist() == [3]


def test_a_clip_is_the_same_alone_and_in_any_place_of_a_batch(model: JointTransformer) -> None:
    x, t, given, (states, pooled) = latents(3), torch.rand(3), nothing_given(3), text(3)
    given.audio[1] = 1
    together = model(x, t, given, states, pooled)
    order = [2, 0, 1]
    shuffled = model(x.map(lambda x: x[order]), t[order], given.map(lambda g: g[order]), states[order], pooled[order])
    for i in range(3):
        part = slice(i, i + 1)
        alone = model(x.map(lambda x: x[part]), t[part], given.map(lambda g: g[part]), states[part], pooled[part])  # noqa: B023
        assert difference(alone, together.map(lambda x: x[part])) < 1e-5  # noqa: B023
        j = order.index(i)
        assert difference(alone, shuffled.map(lambda x: x[j : j + 1])) < 1e-5  # noqa: B023


@pytest.mark.parametrize("what", ["states", "pooled", "audio", "video"])
def test_every_input_reaches_both_outputs(model: JointTransformer, what: str) -> None:
    x, (states, pooled) = latents(), text()
    t, given = torch.full((2,), 0.5), nothing_given()
    before = model(x, t, given, states, pooled)
    changed = {"states": states, "pooled": pooled, "audio": x.audio, "video": x.video}
    changed[what] = changed[what] + 0.1 * torch.randn_like(changed[what])
    after = model(Latents(changed["video"], changed["audio"]), t, given, changed["states"], changed["pooled"])
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(before, after, strict=True))


def test_lengths_other_than_the_trained_one_pass(model: JointTransformer) -> None:
    x = latents(1)
    longer = Latents(torch.cat([x.video, x.video], dim=1), torch.cat([x.audio, x.audio], dim=1))
    given = longer.map(lambda x: torch.zeros(x.shape[:2]))
    out = model(longer, torch.rand(1), given, *text(1))
    assert out.video.shape == longer.video.shape and out.audio.shape == longer.audio.shape


def test_gradients_reach_every_parameter(model: JointTransformer) -> None:
    model.requires_grad_(True)
    given = nothing_given()
    given.video[:, :2], given.audio[:, :5] = 1, 1
    out = model(latents(), torch.rand(2), given, *text())
    (out.video.square().sum() + out.audio.square().sum()).backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []
