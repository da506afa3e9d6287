"""Clips are read as tokens end to end, whatever their size, length and tracks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as with_fields
from pathlib import Path

import pytest
import torch

from avctl.data.collate import grid_of, read_tokens
from avctl.models import pretrained
from avctl.models.patches import Patches
from avctl.recipe import replace
from avctl.schema import Recipe
from avctl.store.reader import ClipRow, ClipStore


@pytest.fixture(scope="module")
def mixed(tiny: Recipe) -> Recipe:
    return replace(tiny, clip=replace(tiny.clip, other_seconds=(0.5,), other_sizes=((16, 32),)))


@pytest.fixture
def store(tmp_path: Path, mixed: Recipe, clips: Callable[[Path, Recipe], Path]) -> ClipStore:
    return ClipStore(clips(tmp_path, mixed))


@pytest.fixture
def rows(store: ClipStore) -> list[ClipRow]:
    """Clips of all four buckets, an image without sound, a picture without sound, a sound without picture."""
    whole = store.clips()
    assert whole[0].video_latents
    image = with_fields(whole[0].video_latents, length=2)  # a token of two frames
    return [
        *whole[:4],
        with_fields(whole[4], video_latents=image, audio_latents=None),
        with_fields(whole[5], audio_latents=None),
        with_fields(whole[6], video_latents=None),
    ]


@pytest.fixture(scope="module")
def patches(mixed: Recipe) -> Patches:
    return pretrained.untrained(mixed, None).generator.patches


def test_every_clip_has_its_own_tokens(store: ClipStore, rows: list[ClipRow], patches: Patches) -> None:
    grids, tokens = [grid_of(store, row, patches) for row in rows], read_tokens(store, rows, patches)
    assert [grid.pictures for grid in grids] == [4, 2, 8, 4, 1, 8, 0]  # a token is two frames of 2 x 2 latents
    assert [grid.sounds > 0 for grid in grids] == [True] * 4 + [False] * 2 + [True]
    videos = tokens.video.split([grid.pictures for grid in grids])
    audios = tokens.audio.split([grid.sounds for grid in grids])
    for row, video, audio in zip(rows, videos, audios, strict=True):
        if row.video_latents:
            latents = torch.from_numpy(store.read(row.video_latents)).float()[None]
            assert torch.equal(video, patches.split_video(latents))
        if row.audio_latents:
            latents = torch.from_numpy(store.read(row.audio_latents)).float()[None]
            assert torch.equal(audio, patches.split_audio(latents))


def test_joining_undoes_reading(store: ClipStore, rows: list[ClipRow], patches: Patches) -> None:
    """Of clips, an image, a picture alone and a sound alone, in any order."""
    for some in (rows, rows[::-1], [*rows[:1] * 2, *rows[4:], *rows[:2]]):
        made = patches.join_each(read_tokens(store, some, patches), [grid_of(store, row, patches) for row in some])
        for row, clip in zip(some, made, strict=True):
            for place, latents in zip((row.video_latents, row.audio_latents), clip, strict=True):
                if place:
                    assert torch.equal(latents, torch.from_numpy(store.read(place)).float())
                else:
                    assert not len(latents)


def test_clips_without_a_track_make_no_tokens_of_it(store: ClipStore, rows: list[ClipRow], patches: Patches) -> None:
    assert read_tokens(store, rows[4:6], patches).audio.shape == (0, patches.sizes[1])
    assert read_tokens(store, rows[6:], patches).video.shape == (0, patches.sizes[0])


def test_a_clip_that_patches_do_not_divide_or_without_latents_is_refused(
    store: ClipStore, rows: list[ClipRow], patches: Patches
) -> None:
    assert rows[0].video_latents
    odd = with_fields(rows[0], video_latents=with_fields(rows[0].video_latents, length=3))
    with pytest.raises(ValueError, match="does not divide"):
        grid_of(store, odd, patches)
    with pytest.raises(ValueError, match="has no latents"):
        grid_of(store, with_fields(rows[0], video_latents=None, audio_latents=None), patches)
