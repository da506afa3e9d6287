"""What a data set says of its healthy files comes back as it was told, and so do their clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avctl.curate.assemble import CutClips, Tabulator, write_arrays, write_tables
from avctl.curate.earlier import Earlier
from avctl.curate.filters import NAMES
from avctl.curate.prepare import Candidate, Outcome, Source
from avctl.curate.shards import AUDIO, FRAMES, Finished, Shard, WorkFolder, of_shards
from avctl.schema import Clip, Preprocess
from avctl.store.layout import layout

CLIP = Clip(seconds=0.5, size=(16, 16), fps=16, sample_rate=8_000, channels=1)
SCORES: dict[str, float | None] = dict.fromkeys(NAMES, 1.0)
SOUNDLESS = SCORES | {"snr_db": None}


def source(name: str) -> Source:
    return Source(name, Path(name), f"{name}.mp4", name, None, None)


SOURCES = [source(name) for name in "abcd"]
OUTCOMES = [  # two clips that are stored and one that is not; one equal to another; none of a file; a refused one
    Outcome(
        facts={"fps": 16.0, "has_sound": True},
        places=3,
        clips=[
            Candidate(0.0, SCORES, None, "one", 0.25, 3, 8, 4_000, (16, 16), "pyav", "00ff"),
            Candidate(1.0, SCORES, "blur"),
            Candidate(2.0, SOUNDLESS, None, "two", 0.0, 0, 8, 0, (16, 16), "pyav", "0f0f"),
        ],
    ),
    Outcome(places=1, clips=[Candidate(0.0, SCORES, None, "one", -0.5, 0, 8, 4_000, (16, 16), "pyav", "00ff")]),
    Outcome(facts={"fps": 25.0}),
    Outcome("empty", "the file has no bytes"),
]


def tabulator(codecs: str | None = None) -> Tabulator:
    return Tabulator(Preprocess(), CLIP, lambda: codecs)


@pytest.fixture
def earlier(tmp_path: Path) -> Earlier:
    """A data set of one shard: its clips are grey, each of its own level."""
    work, shard, tables = WorkFolder(tmp_path / "work", CLIP), Shard(0, tuple(SOURCES)), tabulator()
    folder = work.scratch / shard.draft
    folder.mkdir()
    np.repeat(np.array([1, 2, 1], np.uint8), 8 * 16 * 16 * 3).tofile(folder / FRAMES)
    np.repeat(np.array([1, 1], np.int16), 4_000).tofile(folder / AUDIO)
    work.commit(shard, OUTCOMES)
    for finished in of_shards([shard], work):
        tables.add(finished)
    write_arrays(tmp_path / "clips.zarr", tables.tables, CutClips(work, None, with_latents=False), layout(CLIP))
    write_tables(tmp_path / "index.sqlite", tables.tables)
    return Earlier(tmp_path)


def test_outcomes_of_healthy_files_come_back_as_they_were(earlier: Earlier) -> None:
    found = list(earlier.finished([*SOURCES, source("new")], tabulator().key))
    assert found == [Finished(each, outcome) for each, outcome in zip(SOURCES[:3], OUTCOMES[:3], strict=True)]


def test_files_whose_clips_would_be_others_now_are_not_known(earlier: Earlier) -> None:
    found = earlier.finished(SOURCES, tabulator("another codec").key)
    assert [finished.source.sha256 for finished in found] == ["c"]  # it has no clips


def test_arrays_come_back_by_clip_and_those_that_it_lacks_are_not_there(earlier: Earlier) -> None:
    one, two = earlier.arrays("one"), earlier.arrays("two")
    assert {kind: (array.shape, array.max()) for kind, array in one.items()} == {
        "video": ((8, 16, 16, 3), 1),
        "audio": ((4_000, 1), 1),
    }
    assert two.keys() == {"video"} and (two["video"] == 2).all()
