"""One source file becomes clips, or an outcome that says why not. Odd files are in `tests/media/test_bad_inputs.py`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from avctl.curate.prepare import Outcome, Source, clip_id, prepare
from avctl.media.mux import write_mp4
from avctl.recipe.content import sha256
from avctl.schema import Clip, Filters, Preprocess, Shots

CLIP = Clip(seconds=1.0, size=(32, 32), fps=20, sample_rate=16_000, channels=1)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """3.2 s of grey that flickers a little, with a tone."""
    levels = 100 + np.arange(64) % 7
    frames = np.broadcast_to(levels[:, None, None, None].astype(np.uint8), (64, 48, 64, 3))
    tone = 0.3 * np.sin(np.arange(51_200) / 5)[:, None]
    write_mp4(tmp_path / "a.mp4", np.ascontiguousarray(frames), tone.astype(np.float32), 20, 16_000)
    return Source(sha256(tmp_path / "a.mp4"), tmp_path / "a.mp4", "a", None, None, None)


def test_a_source_gives_as_many_clips_as_fit(source: Source) -> None:
    outcome, cuts = prepare(source, Preprocess(), CLIP)
    assert outcome.reason is None
    assert outcome.places == len(outcome.clips) == outcome.num_cut == len(cuts) == 3
    assert [candidate.clip_id for candidate in outcome.clips] == [clip_id(cut) for cut in cuts]
    assert outcome.facts["video_codec"] == "h264"


def test_at_most_so_many_clips_are_taken(source: Source) -> None:
    outcome, cuts = prepare(source, Preprocess(shots=Shots(max_clips=2)), CLIP)
    assert (outcome.places, len(outcome.clips), len(cuts)) == (3, 2, 2)


def test_a_dropped_clip_is_scored_and_not_cut(source: Source) -> None:
    outcome, cuts = prepare(source, Preprocess(filters=Filters(min_height=720)), CLIP)
    assert cuts == []
    assert [candidate.reason for candidate in outcome.clips] == ["height"] * 3
    assert all(candidate.scores["height"] == 48 and candidate.clip_id is None for candidate in outcome.clips)


def test_an_outcome_survives_being_written_down(source: Source) -> None:
    outcome, _ = prepare(source, Preprocess(), CLIP)
    assert Outcome.of(json.loads(json.dumps(asdict(outcome)))) == outcome


def test_a_file_that_changed_since_it_was_crawled_is_refused(source: Source) -> None:
    whole = source.path.read_bytes()
    source.path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    outcome, cuts = prepare(source, Preprocess(), CLIP)
    assert (outcome.reason, outcome.clips, cuts) == ("changed", [], [])


def test_preparing_twice_gives_the_same_clips(source: Source) -> None:
    assert prepare(source, Preprocess(), CLIP)[0] == prepare(source, Preprocess(), CLIP)[0]
