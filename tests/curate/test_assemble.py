"""Rows and arrays of many shards come together in order, each clip once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avctl.curate.assemble import CutClips, Tabulator, write_arrays, write_tables
from avctl.curate.filters import NAMES
from avctl.curate.prepare import Candidate, Outcome, Source
from avctl.curate.shards import AUDIO, FRAMES, Finished, Shard, WorkFolder, of_shards
from avctl.recipe import replace
from avctl.schema import Clip, Preprocess, Split
from avctl.store.layout import layout
from avctl.store.reader import ClipStore

CLIP = Clip(seconds=0.5, size=(16, 16), fps=16, sample_rate=8_000, channels=1)
SCORES: dict[str, float | None] = dict.fromkeys(NAMES, 1.0)


def candidate(clip_id: str | None, start_s: float = 0.0, reason: str | None = None, bucket: Clip = CLIP) -> Candidate:
    if clip_id is None:
        return Candidate(start_s, SCORES, reason)
    return Candidate(start_s, SCORES, reason, clip_id, 0.25, 0, bucket.frames, bucket.samples, bucket.size)


def shard(number: int, *names: str) -> Shard:
    return Shard(number, tuple(Source(name, Path(name), f"{name}.mp4", name, None, None) for name in names))


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path / "work", CLIP)


def commit(work: WorkFolder, group: Shard, outcomes: list[Outcome], levels: list[int]) -> None:
    """Clips that are grey at `levels`."""
    folder = work.scratch / group.draft
    folder.mkdir()
    np.repeat(np.array(levels, np.uint8), 8 * 16 * 16 * 3).tofile(folder / FRAMES)
    np.repeat(np.array(levels, np.int16), 4_000).tofile(folder / AUDIO)
    work.commit(group, outcomes)


def assemble(
    work: WorkFolder, shards: list[Shard], out: Path, preprocess: Preprocess | None = None, clip: Clip = CLIP
) -> Tabulator:
    plan = layout(clip)
    tabulator = Tabulator(preprocess or Preprocess(), clip, lambda: None)
    for finished in of_shards(shards, work):
        tabulator.add(finished)
    write_arrays(out / "clips.zarr", tabulator.tables, CutClips(work, None, with_latents=False), plan)
    write_tables(out / "index.sqlite", tabulator.tables)
    return tabulator


def test_every_row_points_at_its_own_frames(work: WorkFolder, tmp_path: Path) -> None:
    """Clips dropped by a filter have no frames in a shard; duplicates have, and they are not stored."""
    shards = [shard(0, "s", "t"), shard(1, "u")]
    first = [
        Outcome(places=3, clips=[candidate("c1"), candidate(None, 1.0, "blur"), candidate("c2", 2.0)]),
        Outcome("empty", "the file has no bytes"),
    ]
    commit(work, shards[0], first, [11, 12])
    commit(work, shards[1], [Outcome(places=2, clips=[candidate("c1"), candidate("c3", 1.0)])], [11, 13])
    tables = assemble(work, shards, tmp_path).tables
    store = ClipStore(tmp_path)
    assert [(row.clip_id, int(store.frames(row).mean()), int(store.audio(row).mean())) for row in store.clips()] == [
        ("c1", 11, 11),
        ("c2", 12, 12),
        ("c3", 13, 13),
    ]
    assert [row["reason"] for row in tables.clips] == [None, "blur", None, "duplicate", None]
    assert [row["name"] for row in tables.refused] == ["t.mp4"]
    assert len(tables.sources) == 3
    assert json.loads(tables.sources[0]["facts"]) == {}


def test_clips_of_every_bucket_lie_in_arrays_of_their_size(work: WorkFolder, tmp_path: Path) -> None:
    clip = replace(CLIP, other_seconds=(0.25,), other_sizes=((32, 16),))
    film = shard(0, "film")
    clips = [candidate(f"c{i}", float(i), bucket=bucket) for i, bucket in enumerate(clip.buckets)]
    folder = work.scratch / film.draft
    folder.mkdir()
    for file, sizes, dtype in (
        (FRAMES, [bucket.frames * bucket.size[0] * bucket.size[1] * 3 for bucket in clip.buckets], np.uint8),
        (AUDIO, [bucket.samples for bucket in clip.buckets], np.int16),
    ):
        np.repeat(np.arange(4, dtype=dtype), sizes).tofile(folder / file)
    work.commit(film, [Outcome(places=4, clips=clips)])
    assemble(work, [film], tmp_path, clip=clip)
    store = ClipStore(tmp_path)
    rows = store.clips()
    assert [(row.video and row.video.name, row.video and row.video.offset) for row in rows] == [
        ("video/16x16", 0),
        ("video/16x16", 8),
        ("video/32x16", 0),
        ("video/32x16", 8),
    ]
    for i, (row, bucket) in enumerate(zip(rows, clip.buckets, strict=True)):
        frames, audio = store.frames(row), store.audio(row)
        assert frames.shape == (bucket.frames, *bucket.size, 3) and (frames == i).all()
        assert audio.shape == (bucket.samples, 1) and (audio == i).all()


def test_clips_of_one_film_stand_on_one_side_unless_the_recipe_says_otherwise(work: WorkFolder, tmp_path: Path) -> None:
    film = shard(0, "film")
    clips = [candidate(f"{i:064x}", float(i)) for i in range(40)]
    commit(work, film, [Outcome(places=40, clips=clips)], list(range(40)))
    halves = Split(valid=0.3, test=0.3)
    together = assemble(work, [film], tmp_path / "a", Preprocess(split=halves)).tables
    apart = assemble(work, [film], tmp_path / "b", Preprocess(split=halves.model_copy(update={"by": "clip"}))).tables
    assert len({row["split"] for row in together.clips}) == 1
    assert {row["split"] for row in apart.clips} == {"train", "valid", "test"}


def test_the_key_of_a_clip_names_everything_that_made_it() -> None:
    def key(sha256: str = "s", start_s: float = 0.0, bucket: Clip = CLIP, codecs: str | None = None) -> str:
        tabulator = Tabulator(Preprocess(), CLIP, lambda: codecs)
        (source,) = shard(0, sha256)
        tabulator.add(Finished(source, Outcome(clips=[candidate("c", start_s, bucket=bucket)])))
        return tabulator.tables.clips[0]["key"]

    smaller, shorter = replace(CLIP, size=(16, 18)), replace(CLIP, seconds=0.25)
    assert key() == key()
    assert len({key(), key("t"), key(start_s=1.0), key(bucket=smaller), key(bucket=shorter), key(codecs="x")}) == 6


def test_the_key_of_a_clip_does_not_name_the_buckets_that_it_is_not_in() -> None:
    keys = set()
    for clip in (CLIP, replace(CLIP, other_seconds=(0.25,), other_sizes=((32, 16),))):
        tabulator = Tabulator(Preprocess(), clip, lambda: None)
        (source,) = shard(0, "s")
        tabulator.add(Finished(source, Outcome(clips=[candidate("c")])))
        keys.add(tabulator.tables.clips[0]["key"])
    assert len(keys) == 1
