"""A store stays a handful of files, and has an array for every size."""

from __future__ import annotations

from math import ceil

import pytest

from avctl.schema import Clip
from avctl.store.layout import LATENT_CHUNK_BYTES, SHARD_BYTES, Series, layout


def files(series: Series, num_clips: int, length: int) -> int:
    return ceil(num_clips * series.chunks(length) / series.shard)


def test_ten_thousand_small_clips_are_fewer_than_fifty_files() -> None:
    clip = Clip(seconds=2, size=(32, 32), fps=16, sample_rate=16_000)
    plan = layout(clip, {(32, 32): (32, 12, 4, 4)}, (100, 96))
    assert plan.audio_latents
    series = (
        (plan.video[32, 32], 32),
        (plan.audio, 32_000),
        (plan.video_latents[32, 32], 32),
        (plan.audio_latents, 100),
    )
    assert sum(files(each, 10_000, length) for each, length in series) < 50


def test_ten_thousand_clips_of_a_megabyte_of_latents_are_fewer_than_fifty_files() -> None:
    plan = layout(Clip(seconds=5, size=(256, 448)), {(256, 448): (20, 16, 32, 56)}, (250, 64))
    assert plan.audio_latents
    assert files(plan.video_latents[256, 448], 10_000, 20) + files(plan.audio_latents, 10_000, 250) < 50


@pytest.mark.parametrize("size", [(32, 32), (512, 512), (1080, 1920)])
def test_a_file_has_its_target_size_or_one_chunk(size: tuple[int, int]) -> None:
    series = layout(Clip(seconds=5, size=size)).video[size]
    num_bytes = series.shard * series.chunk_bytes
    assert num_bytes <= max(SHARD_BYTES, series.chunk_bytes)
    assert num_bytes > SHARD_BYTES * 0.6


def test_every_size_has_arrays_of_its_own_and_all_share_their_sound() -> None:
    clip = Clip(seconds=2, size=(32, 32), fps=16, sample_rate=16_000, other_sizes=((32, 64),), other_seconds=(1.0,))
    plan = layout(clip, {(32, 32): (32, 12, 4, 4), (32, 64): (32, 12, 4, 8)}, (100, 96))
    assert plan.series("video", (32, 64)).name == "video/32x64"
    assert plan.series("video_latents", (32, 64)).name == "latents/video/4x8"
    assert plan.series("audio", (32, 32)) == plan.series("audio", (32, 64))
    with pytest.raises(KeyError, match="audio_latents"):
        layout(clip).series("audio_latents", (32, 32))


def test_chunks_of_latents_are_worth_finding_and_no_longer_than_a_clip() -> None:
    small = layout(Clip(seconds=2, size=(32, 32)), {(32, 32): (32, 12, 4, 4)}, (100, 96)).video_latents[32, 32]
    assert small.chunk == 32
    large = layout(Clip(seconds=2, size=(256, 448)), {(256, 448): (32, 16, 32, 56)}, (100, 96)).video_latents[256, 448]
    assert large.chunk == 4 and large.chunk_bytes > LATENT_CHUNK_BYTES
