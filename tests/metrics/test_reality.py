"""Real clips are read and watched as they are, and once more as the codecs leave them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from avctl.codecs.build import build_audio_codec, build_video_codec
from avctl.media.synthetic import render
from avctl.metrics.reality import Codecs, Reality
from avctl.metrics.score import Record
from avctl.schema import MDCT, Clip, Eval, Haar, Synthetic
from avctl.store.index import place_columns, write_index
from avctl.store.layout import layout
from avctl.store.reader import ClipStore
from avctl.store.writer import Writer

CLIP = Clip(seconds=2.0, size=(32, 32), fps=16, sample_rate=16_000)
RECORD = Record(
    "", "small world 1", CLIP.size, CLIP.fps, CLIP.sample_rate, CLIP.channels, "text_to_both", resamples=100
)
SCENES = [render(i, Synthetic(count=4, seed=11, size=CLIP.size)) for i in range(4)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    """Four clips, the last of them for training."""
    artifact, plan = tmp_path_factory.mktemp("store"), layout(CLIP)
    writer = Writer(artifact / "clips.zarr")
    rows = []
    for i, scene in enumerate(SCENES):
        audio = np.rint(scene.audio * 32_767).astype(np.int16)
        places = {
            "video": writer.append(plan.video[CLIP.size], scene.frames),
            "audio": writer.append(plan.audio, audio),
        }
        row: dict[str, Any] = {"clip_id": f"{i}", "source_sha256": f"{i}", "start_s": 0.0, "skew": 0.0, "key": "k"}
        row |= {"split": "train" if i == 3 else "test", "caption": scene.caption, "truth": json.dumps(scene.truth)}
        rows.append(row | place_columns(places))
    writer.close()
    write_index(artifact / "index.sqlite", [], rows, {})
    return ClipStore(artifact)


@pytest.fixture(scope="module")
def reality(store: ClipStore) -> Reality:
    return Reality(store, CLIP, Codecs(build_video_codec(Haar(), CLIP, None), build_audio_codec(MDCT(), CLIP)))


def test_a_clip_is_read_at_full_scale_one(reality: Reality) -> None:
    clip = reality.read(reality.rows["1"])
    assert (clip.frames == SCENES[1].frames).all()
    assert np.abs(clip.audio - SCENES[1].audio).max() < 1e-4 and clip.audio.dtype == np.float32


def test_real_clips_are_right_in_everything(reality: Reality) -> None:
    real, decoded = reality.ceilings(list(reality.rows.values()), Eval(metrics=("adherence",)), RECORD)
    assert [score.value for score in real] == [100] * 4 and [score.used for score in real] == [4] * 4
    assert [score.value for score in decoded] == [100] * 4 and [score.used for score in decoded] == [3] * 4  # held out
    assert all(score.interval is None for score in real)


def test_a_set_without_real_clips_has_no_ceilings(reality: Reality) -> None:
    assert reality.ceilings([], Eval(), RECORD) == ([], [])


def test_without_codecs_there_is_no_loss_and_no_ceiling_of_theirs(store: ClipStore, reality: Reality) -> None:
    bare = Reality(store, CLIP, None)
    assert bare.loss(RECORD) == [] and reality.loss(RECORD)[0].name == "PSNR"
    assert bare.ceilings(list(bare.rows.values()), Eval(metrics=("adherence",)), RECORD)[1] == []
