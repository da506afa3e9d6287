"""A pack holds the tokens of each of its clips, whatever its size, length and tracks, and says whose they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as with_fields
from pathlib import Path

import pytest
import torch

from avctl.data.collate import num_tokens, pack
from avctl.data.order import Order
from avctl.data.packs import Packs
from avctl.models import pretrained
from avctl.models.joint_dit import Patches
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
    return pretrained.untrained(mixed, None).generator.transformer.patches


def test_every_clip_has_its_own_tokens_and_positions(store: ClipStore, rows: list[ClipRow], patches: Patches) -> None:
    made = pack(store, rows, patches)
    assert made.clips == tuple(rows)
    assert made.video_lengths.tolist() == [4, 2, 8, 4, 1, 8, 0]  # a token is two frames of 2 x 2 latents
    assert (made.audio_lengths > 0).tolist() == [True] * 4 + [False] * 2 + [True]
    for tokens, positions, lengths in (
        (made.video, made.video_positions, made.video_lengths),
        (made.audio, made.audio_positions, made.audio_lengths),
    ):
        assert len(tokens) == len(positions) == int(lengths.sum())
    videos, audios = made.video.split(made.video_lengths.tolist()), made.audio.split(made.audio_lengths.tolist())
    for row, video, audio in zip(rows, videos, audios, strict=True):
        if row.video_latents:
            latents = torch.from_numpy(store.read(row.video_latents)).float()[None]
            assert torch.equal(video, patches.split_video(latents)[0])
        if row.audio_latents:
            latents = torch.from_numpy(store.read(row.audio_latents)).float()[None]
            assert torch.equal(audio, patches.split_audio(latents)[0])


def test_every_clip_has_a_clock_of_its_own(store: ClipStore, rows: list[ClipRow], patches: Patches) -> None:
    made = pack(store, rows, patches)
    times = [positions[:, 0] for positions in made.audio_positions.split(made.audio_lengths.tolist())]
    assert torch.equal(times[0], times[2])
    assert torch.equal(times[1], times[6])
    assert torch.equal(times[1], times[0][: len(times[1])])
    places = [positions[:, 1:].max() for positions in made.video_positions.split(made.video_lengths.tolist())[:4]]
    assert [float(place) for place in places] == [0, 0, 1, 1]


def test_tokens_are_counted_without_reading_them(store: ClipStore, rows: list[ClipRow], patches: Patches) -> None:
    made = pack(store, rows, patches)
    counted = [num_tokens(store, row, patches) for row in rows]
    assert counted == (made.video_lengths + made.audio_lengths).tolist()


def test_packs_of_a_store_hold_every_clip_once(store: ClipStore, rows: list[ClipRow], patches: Patches) -> None:
    lengths = [num_tokens(store, row, patches) for row in rows]
    made = Packs(Order(len(rows), 0), lengths, max(lengths) + 10)
    packed = [pack(store, [rows[i] for i in clips], patches) for clips in made.epoch(0)]
    assert 1 < len(packed) < len(rows)
    assert sorted(row.clip_id for each in packed for row in each.clips) == sorted(row.clip_id for row in rows)
    assert all(int(each.video_lengths.sum() + each.audio_lengths.sum()) <= made.budget for each in packed)


def test_a_clip_that_patches_do_not_divide_or_without_latents_is_refused(
    store: ClipStore, rows: list[ClipRow], patches: Patches
) -> None:
    assert rows[0].video_latents
    odd = with_fields(rows[0], video_latents=with_fields(rows[0].video_latents, length=3))
    with pytest.raises(ValueError, match="does not divide"):
        num_tokens(store, odd, patches)
    with pytest.raises(ValueError, match="has no latents"):
        num_tokens(store, with_fields(rows[0], video_latents=None, audio_latents=None), patches)
