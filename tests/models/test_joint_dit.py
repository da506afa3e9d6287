"""What is given is only conditioned on, never asked at a noise level, and a clip is the same in any pack."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from avctl.models.joint_dit import JointTransformer
from avctl.models.latents import Tracks
from avctl.models.packing import Clock, Grid, pack
from avctl.schema import JointDiT

SPEC = JointDiT(width=32, num_dual=1, num_single=1, heads=2)
CLOCK = Clock((1 / 8, 1 / 8), (0.0, 0.0))
CLIP = Grid(4, 2, 3, 4)
MIXED = (CLIP, Grid(1, 3, 2, 0), CLIP, Grid(0, 0, 0, 7), Grid(2, 1, 4, 3))  # an image, and a sound alone, among clips


def tokens(grids: Sequence[Grid] = (CLIP,) * 2) -> Tracks:
    generator = torch.Generator().manual_seed(0)
    lengths = sum(grid.pictures for grid in grids), sum(grid.sounds for grid in grids)
    return Tracks(*(torch.randn(n, size, generator=generator) for n, size in zip(lengths, (24, 20), strict=True)))


def nothing_given(like: Tracks) -> Tracks:
    return like.map(lambda x: torch.zeros(len(x)))


def text(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 5, 32, generator=generator), torch.randn(count, 32, generator=generator)


@pytest.fixture
def model() -> JointTransformer:
    """With random weights where training starts from zeros."""
    torch.manual_seed(0)
    model = JointTransformer(SPEC, (24, 20)).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def answer(
    model: JointTransformer, x: Tracks | None = None, given: Tracks | None = None, t: float = 0.3,
    grids: Sequence[Grid] = (CLIP,) * 2,
) -> Tracks:  # fmt: skip
    x = x or tokens(grids)
    packing = pack(grids, 5, CLOCK)
    return model(x, torch.full((len(grids),), t), given or nothing_given(x), *text(len(grids)), packing)


def difference(a: Tracks, b: Tracks) -> float:
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))


def test_a_new_transformer_answers_zero() -> None:
    out = answer(JointTransformer(SPEC, (24, 20)))
    assert out.video.shape == (48, 24) and out.audio.shape == (8, 20)
    assert not out.video.any() and not out.audio.any()


def test_time_has_no_influence_on_what_is_given(model: JointTransformer) -> None:
    everything = nothing_given(tokens()).map(torch.ones_like)
    assert difference(answer(model, given=everything, t=0.1), answer(model, given=everything, t=0.9)) == 0
    assert difference(answer(model, t=0.1), answer(model, t=0.9)) > 1e-2


def test_given_and_free_are_told_apart(model: JointTransformer) -> None:
    given = Tracks(torch.ones(48), torch.zeros(8))
    assert difference(answer(model, given=given), answer(model)) > 1e-2


def test_a_summary_is_of_what_is_given_in_each_clip(model: JointTransformer) -> None:
    summarize, sounds, clip = model.summarize[1], tokens().audio, torch.tensor([0, 0, 0, 0, 2, 2, 2, 2])
    summary = summarize(sounds, torch.tensor([1.0, 1, 1, 1, 0, 1, 1, 0]), clip, 3)
    assert torch.allclose(summary[0], summarize(sounds[:4], torch.ones(4), clip[:4], 1)[0], atol=1e-6)
    assert torch.allclose(summary[2], summarize(sounds[5:7], torch.ones(2), clip[:2], 1)[0], atol=1e-6)
    of_nothing = summarize(torch.empty(0, 20), torch.empty(0), clip[:0], 1)[0]
    assert torch.equal(summary[1], of_nothing) and (summary[0] - of_nothing).abs().max() > 1e-3


def test_every_token_belongs_to_the_group_of_its_clip_and_of_what_is_given(model: JointTransformer) -> None:
    grids = (CLIP, Grid(1, 3, 2, 0), CLIP)
    given = nothing_given(tokens(grids))
    given.video[36:42] = 1  # of the last clip the second tokens in time
    given.audio[-1] = 1
    packing = pack(grids, 5, CLOCK)
    clips = Tracks(packing.video.of_tokens(54), packing.audio.of_tokens(8))
    (words, video, audio), joined = model._groups(torch.rand(3), given, clips, text(3)[1], packing)
    assert words.tokens.index.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert video.tokens.index.tolist() == [0] * 24 + [2] * 6 + [4] * 6 + [5] * 6 + [4] * 12
    assert audio.tokens.index.tolist() == [0] * 4 + [4, 4, 4, 5]
    of_streams = torch.cat([part.cond[part.tokens.index.long()] for part in (words, video, audio)])
    assert torch.equal(joined.cond[joined.tokens.index.long()], of_streams[packing.order])


@pytest.mark.parametrize("grids", [(CLIP,) * 3, MIXED])
def test_a_clip_is_the_same_alone_and_in_any_place_of_a_pack(model: JointTransformer, grids: tuple[Grid, ...]) -> None:
    x, t, (states, pooled) = tokens(grids), torch.rand(len(grids)), text(len(grids))
    given = x.map(lambda track: (torch.rand(len(track)) < 0.3).float())
    order = torch.randperm(len(grids)).tolist()

    def parts(x: Tracks) -> list[Tracks]:
        video, audio = (x.video.split([g.pictures for g in grids]), x.audio.split([g.sounds for g in grids]))
        return [Tracks(*pair) for pair in zip(video, audio, strict=True)]

    def of(clips: list[int]) -> Tracks:
        chosen, masks = ([parts(each)[i] for i in clips] for each in (x, given))
        joined, mask = (Tracks(*map(torch.cat, zip(*each, strict=True))) for each in (chosen, masks))
        return model(joined, t[clips], mask, states[clips], pooled[clips], pack([grids[i] for i in clips], 5, CLOCK))

    together, shuffled = of(list(range(len(grids)))), of(order)
    for i, part in enumerate(parts(together)):
        alone = of([i])
        assert all(a.shape == b.shape and torch.allclose(a, b, atol=1e-5) for a, b in zip(alone, part, strict=True))
    reordered = Tracks(*map(torch.cat, zip(*(parts(together)[i] for i in order), strict=True)))
    assert difference(shuffled, reordered) < 1e-5


@pytest.mark.parametrize("what", ["states", "pooled", "audio", "video"])
def test_every_input_reaches_both_outputs(model: JointTransformer, what: str) -> None:
    x, (states, pooled), packing = tokens(), text(), pack((CLIP, CLIP), 5, CLOCK)
    t, given = torch.full((2,), 0.5), nothing_given(x)
    before = model(x, t, given, states, pooled, packing)
    changed = {"states": states, "pooled": pooled, "audio": x.audio, "video": x.video}
    changed[what] = changed[what] + 0.1 * torch.randn_like(changed[what])
    moved = Tracks(changed["video"], changed["audio"])
    after = model(moved, t, given, changed["states"], changed["pooled"], packing)
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(before, after, strict=True))


def test_within_a_block_sound_and_picture_see_each_other_as_far_as_the_window_reaches() -> None:
    """The middles of frames and of sounds stand at 1/16, 3/16, 5/16 and 7/16 s."""
    torch.manual_seed(0)
    model = JointTransformer(SPEC.model_copy(update={"num_single": 0, "window_s": 0.125}), (24, 20)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = tokens()
    louder, brighter = x.map(torch.clone), x.map(torch.clone)
    louder.audio[0] += 1  # of the first clip, its first sound
    brighter.video[18] += 1  # and one token of its last frame
    before, heard, seen = (answer(model, each) for each in (x, louder, brighter))
    moved = (heard.video - before.video).abs().amax(1).unflatten(0, (2, 4, 6)).amax(2) > 1e-5
    assert moved.tolist() == [[True, True, False, False], [False] * 4]
    moved = (seen.audio - before.audio).abs().amax(1) > 1e-5
    assert moved.tolist() == [False, False, True, True] + [False] * 4
    assert ((seen.video - before.video).abs().amax(1) > 1e-6)[:24].all(), "pictures see all pictures of their clip"


def test_a_window_as_long_as_the_clip_is_none(model: JointTransformer) -> None:
    windowed = JointTransformer(SPEC.model_copy(update={"window_s": 0.375}), (24, 20)).eval()
    windowed.load_state_dict(model.state_dict())
    assert difference(answer(windowed, grids=MIXED), answer(model, grids=MIXED)) < 1e-5


@pytest.mark.parametrize("grids", [(Grid(2, 2, 3, 0),), (Grid(0, 0, 0, 3),), ()])
def test_packs_of_pictures_alone_of_sounds_alone_and_of_nothing_pass(
    model: JointTransformer, grids: tuple[Grid, ...]
) -> None:
    out = answer(model, grids=grids)
    assert out.video.shape == tokens(grids).video.shape and out.audio.shape == tokens(grids).audio.shape
    assert all(x.isfinite().all() for x in out)


def test_gradients_reach_every_parameter(model: JointTransformer) -> None:
    model.requires_grad_(True)
    given = nothing_given(tokens(MIXED))
    given.video[:6], given.audio[:1] = 1, 1
    out = answer(model, given=given, grids=MIXED)
    (out.video.square().sum() + out.audio.square().sum()).backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []
