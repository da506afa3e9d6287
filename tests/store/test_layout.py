"""A store stays a handful of files, and a clip never shares a chunk with another."""

from __future__ import annotations

from math import ceil

from avctl.schema import Clip
from avctl.store.layout import SHARD_BYTES, Series, layout


def files(series: Series, num_clips: int) -> int:
    return ceil(num_clips / series.slots_a_shard)


def test_ten_thousand_tiny_clips_are_fewer_than_fifty_files() -> None:
    plan = layout(Clip(seconds=2, size=(32, 32), fps=16, sample_rate=16_000), (32, 12, 4, 4), (100, 96))
    assert sum(files(series, 10_000) for series in plan.series) < 50


def test_clips_begin_on_chunk_boundaries() -> None:
    for seconds in (0.5, 1.25, 2.0, 9.75):
        plan = layout(Clip(seconds=seconds, size=(32, 32), fps=16, sample_rate=16_000), (7, 12, 4, 4), (31, 96))
        for series in plan.series:
            assert series.slot % series.chunk == 0
            assert series.slot - series.length < series.chunk


def test_a_file_of_large_clips_stays_near_its_target_size() -> None:
    video = layout(Clip(seconds=5, size=(512, 512), fps=24)).video
    clip_bytes = video.slot * 512 * 512 * 3
    assert video.slots_a_shard * clip_bytes <= max(SHARD_BYTES, clip_bytes)
