"""The writer fills whole files and refuses what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avctl.schema import Clip
from avctl.store import layout as layout_module
from avctl.store.layout import layout
from avctl.store.reader import ClipStore, Place
from avctl.store.writer import Writer

CLIP = Clip(seconds=0.5, size=(16, 16), fps=16, sample_rate=8_000, channels=1)


def test_clips_lie_the_same_however_they_were_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_module, "SHARD_CHUNKS", 4)  # four clips a file
    plan = layout(CLIP)
    frames = np.random.default_rng(0).integers(0, 255, (10, 8, 16, 16, 3), np.uint8)
    audio = np.zeros((10, 4_000, 1), np.int16)
    writer = Writer(tmp_path / "clips.zarr", plan, 10)
    for part in np.split(frames, (1, 6, 7)):
        writer.append(plan.video.name, part)
    writer.append(plan.audio.name, audio)
    writer.close()
    files = [path for path in (tmp_path / "clips.zarr/video").rglob("*") if path.is_file() and path.name == "0"]
    assert len(files) == 3
    store = ClipStore(tmp_path)
    read = [store._read(Place(plan.video.name, i * plan.video.slot, 8)) for i in range(10)]
    assert np.array_equal(read, frames)


def test_a_store_that_is_not_full_is_refused(tmp_path: Path) -> None:
    plan = layout(CLIP)
    writer = Writer(tmp_path / "clips.zarr", plan, 2)
    writer.append(plan.video.name, np.zeros((1, 8, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="holds 1 clips, 2 were announced"):
        writer.close()


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    plan = layout(CLIP)
    writer = Writer(tmp_path / "clips.zarr", plan, 2)
    with pytest.raises(ValueError, match="not \\(8, 16, 24, 3\\)"):
        writer.append(plan.video.name, np.zeros((1, 8, 16, 24, 3), np.uint8))
