"""A store is written clip by clip and read back by row, by this reader and by plain Zarr."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import zarr

from avctl.schema import Clip
from avctl.store.index import write_index
from avctl.store.layout import StoreLayout, layout
from avctl.store.reader import ClipStore
from avctl.store.writer import Writer

CLIP = Clip(seconds=0.75, size=(16, 24), fps=16, sample_rate=8_000, channels=2)  # 12 frames: a chunk and a half


def random_clips(plan: StoreLayout, num_clips: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Clips (n, length, *item) for every array of the layout."""
    generator = np.random.default_rng(seed)
    return {
        series.name: generator.integers(0, 200, (num_clips, series.length, *series.item)).astype(series.dtype)
        for series in plan.series
    }


def write_store(artifact: Path, plan: StoreLayout, clips: dict[str, np.ndarray]) -> None:
    """An artifact whose clip `i` is called `i`; odd ones are in split `test`, the last one was dropped."""
    num_clips = len(clips[plan.video.name])
    writer = Writer(artifact / "clips.zarr", plan, num_clips)
    for name, values in clips.items():
        writer.append(name, values)
    writer.close()
    rows = []
    for i in range(num_clips):
        row = {"clip_id": f"{i:03d}", "source_sha256": "s", "start_s": float(i), "split": "test" if i % 2 else "train"}
        row |= {"caption": f"clip {i}", "truth": '{"events_s": [0.5]}', "key": "k", "skew": 0.25, "padded": 0}
        row |= {"video": plan.video.name, "video_offset": i * plan.video.slot, "frames": plan.video.length}
        row |= {"audio": plan.audio.name, "audio_offset": i * plan.audio.slot, "samples": plan.audio.length}
        for column, series in (("video_latents", plan.video_latents), ("audio_latents", plan.audio_latents)):
            if series:
                row |= {column: series.length, f"{column}_offset": i * series.slot}
        rows.append(row | {"sharpness": i / 2, "snr_db": None})
    rows.append({"source_sha256": "s", "start_s": 99.0, "split": "train", "reason": "blur", "sharpness": 0.1})
    write_index(artifact / "index.sqlite", ["sharpness", "snr_db"], rows, {"quarantine": []})


@pytest.fixture
def plan() -> StoreLayout:
    return layout(CLIP, (6, 5, 2, 3), (19, 7))


def test_every_clip_comes_back_as_it_was_written(tmp_path: Path, plan: StoreLayout) -> None:
    clips = random_clips(plan, 5)
    write_store(tmp_path, plan, clips)
    store = ClipStore(tmp_path)
    rows = store.clips()
    assert [row.clip_id for row in rows] == ["000", "001", "002", "003", "004"]
    for i, row in enumerate(rows):
        assert np.array_equal(store.frames(row), clips["video/16x24"][i])
        assert np.array_equal(store.audio(row), clips["audio/8000x2"][i])
    assert rows[3].scores == {"sharpness": 1.5, "snr_db": None}
    assert rows[3].truth == {"events_s": [0.5]}


def test_latents_come_back_in_the_order_asked_for(tmp_path: Path, plan: StoreLayout) -> None:
    clips = random_clips(plan, 7)
    write_store(tmp_path, plan, clips)
    store = ClipStore(tmp_path)
    rows = store.clips()
    order = [5, 0, 1, 2, 6, 2]
    video, audio = store.latents([rows[i] for i in order])
    assert np.array_equal(video, clips["latents/video"][order])
    assert np.array_equal(audio, clips["latents/audio"][order])
    assert video.dtype == audio.dtype == np.float16


def test_a_split_holds_its_clips_only(tmp_path: Path, plan: StoreLayout) -> None:
    write_store(tmp_path, plan, random_clips(plan, 5))
    assert [row.clip_id for row in ClipStore(tmp_path).clips("test")] == ["001", "003"]


def test_a_store_without_latents_says_so(tmp_path: Path) -> None:
    plan = layout(CLIP)
    write_store(tmp_path, plan, random_clips(plan, 2))
    store = ClipStore(tmp_path)
    with pytest.raises(ValueError, match="names no codecs"):
        store.latents(store.clips())


def test_plain_zarr_reads_the_store(tmp_path: Path, plan: StoreLayout) -> None:
    clips = random_clips(plan, 3)
    write_store(tmp_path, plan, clips)
    array = zarr.open_group(tmp_path / "clips.zarr", mode="r")["video/16x24"]
    assert isinstance(array, zarr.Array)
    assert np.array_equal(array[16:28], clips["video/16x24"][1])  # 12 frames fill two chunks of 8


def test_a_store_can_be_sent_to_another_process(tmp_path: Path, plan: StoreLayout) -> None:
    clips = random_clips(plan, 2)
    write_store(tmp_path, plan, clips)
    store = ClipStore(tmp_path)
    store.frames(store.clips()[0])
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again.frames(again.clips()[1]), clips["video/16x24"][1])


def digest(folder: Path) -> str:
    """One hash over the names and bytes of all files below `folder`."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in found]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def test_equal_clips_give_equal_bytes(tmp_path: Path, plan: StoreLayout) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_store(tmp_path / name, plan, random_clips(plan, 40))
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
