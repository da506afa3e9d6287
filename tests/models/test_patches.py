"""Tokens are cut by time, row and column, whatever the size of a clip, and joining undoes it."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
import torch

from avctl.models.latents import Layout, Tracks
from avctl.models.packing import Grid
from avctl.models.patches import Patches
from avctl.schema import JointDiT

SPEC = JointDiT(width=32, num_dual=1, num_single=1, heads=2, video_patch=(2, 2, 2), audio_patch=5)
LAYOUT = Layout(
    video_frames=8, video_channels=3, video_size=(4, 6), video_rate=16.0,
    audio_frames=20, audio_channels=4, audio_rate=40.0
)  # fmt: skip


def latents(batch: int = 2, layout: Layout = LAYOUT) -> Tracks:
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(batch, layout.video_frames, 3, *layout.video_size, generator=generator)
    return Tracks(video, torch.randn(batch, layout.audio_frames, 4, generator=generator))


@pytest.mark.parametrize("layout", [LAYOUT, replace(LAYOUT, video_frames=4, video_size=(12, 6), audio_frames=10)])
@pytest.mark.parametrize("patch", [(1, 1, 1), (2, 2, 2), (4, 1, 3), (4, 4, 6)])
def test_joining_undoes_splitting(patch: tuple[int, int, int], layout: Layout) -> None:
    patches, clips = Patches(SPEC.model_copy(update={"video_patch": patch}), LAYOUT), latents(3, layout)
    grid, tokens = patches.grid_of(clips), patches.split(clips)
    assert grid == patches.grid((layout.video_frames, *layout.video_size), layout.audio_frames)
    assert tokens.video.shape == (3 * grid.pictures, patches.sizes[0])
    assert tokens.audio.shape == (3 * grid.sounds, patches.sizes[1])
    assert all(torch.equal(a, b) for a, b in zip(patches.join(tokens, 3, grid), clips, strict=True))


def test_clips_of_any_size_have_their_latents_back() -> None:
    """A clip twice, an image, a sound alone, a picture alone, and the clip again."""
    patches, (videos, audios) = Patches(SPEC, LAYOUT), latents(3)
    clips = [
        *map(Tracks, videos[:2], audios[:2]),
        Tracks(torch.randn(2, 3, 6, 2), audios[0, :0]),
        Tracks(torch.zeros(0, 3, 0, 0), torch.randn(15, 4)),
        Tracks(torch.randn(4, 3, 2, 4), audios[0, :0]),
        Tracks(videos[2], audios[2]),
    ]
    batches = [clip.map(lambda x: x[None]) for clip in clips]
    grids, tokens = [patches.grid_of(batch) for batch in batches], [patches.split(batch) for batch in batches]
    made = patches.join_each(Tracks(*map(torch.cat, zip(*tokens, strict=True))), grids)
    assert all(torch.equal(a, b) for a, b in zip(chain(*made), chain(*clips), strict=True))
    assert patches.join_each(Tracks(torch.empty(0, 24), torch.empty(0, 20)), []) == []


def test_tokens_that_are_not_those_of_the_grids_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) tokens of video and audio for grids of \(3, 4\)"):
        Patches(SPEC, LAYOUT).join_each(Tracks(torch.empty(3, 24), torch.empty(2, 20)), [Grid(1, 1, 3, 4)])


def test_tokens_go_by_clip_then_time_then_row_then_column() -> None:
    video = torch.zeros(2, 8, 3, 4, 6)
    for b, f, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(8), torch.arange(4), torch.arange(6)).tolist():
        video[b, f, :, y, x] = 1_000 * b + 100 * (f // 2) + 10 * (y // 2) + x // 2
    audio = (torch.arange(20) // 5).float()[None, :, None].expand(2, 20, 4)
    tokens, sounds = Patches(SPEC, LAYOUT).split(Tracks(video, audio))
    order = [1_000 * b + 100 * f + 10 * y + x for b in range(2) for f in range(4) for y in range(2) for x in range(3)]
    assert torch.equal(tokens, torch.tensor(order, dtype=torch.float)[:, None].expand(-1, 24))
    assert torch.equal(sounds, torch.arange(4.0).repeat(2)[:, None].expand(-1, 20))


def test_a_token_is_given_if_its_first_latent_frame_is() -> None:
    patches = Patches(SPEC, LAYOUT)
    given = Tracks(torch.tensor([[0.0, 0, 1, 0], [1, 1, 0, 1]]), torch.tensor([[0.0] * 5 + [1] * 5] * 2))
    video, audio = patches.split_masks(given, Grid(2, 1, 3, 2))
    assert video.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0] and audio.tolist() == [0, 1, 0, 1]


def test_what_belongs_to_channels_stands_at_their_numbers_of_a_token() -> None:
    patches, clips = Patches(SPEC, LAYOUT), latents()
    tables = Tracks(torch.tensor([1.0, 2, 3]), torch.arange(4.0))
    moved = patches.split(Tracks(clips.video + tables.video[:, None, None], clips.audio + tables.audio))
    expected = patches.split(clips).map(torch.add, patches.of_channels(tables))
    assert all(torch.equal(a, b) for a, b in zip(moved, expected, strict=True))


def test_tokens_have_the_clock_of_their_latents() -> None:
    clock = Patches(SPEC, replace(LAYOUT, audio_start_s=-0.0125)).clock
    assert clock.seconds == (2 / 16, 5 / 40) and clock.starts_s == (0.0, -0.0125)


@pytest.mark.parametrize(
    "change", [{"video_patch": (3, 2, 2)}, {"video_patch": (2, 3, 2)}, {"video_patch": (2, 2, 4)}, {"audio_patch": 3}]
)
def test_patches_that_do_not_divide_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"does not divide (latents of 8 x 4 x 6|20 latent frames)"):
        Patches(SPEC.model_copy(update=change), LAYOUT)
