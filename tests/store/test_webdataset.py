"""webdataset reads every clip, with picture, sound, caption and latents."""

from __future__ import annotations

import io
import json
import tarfile
import wave
from collections.abc import Callable
from dataclasses import replace as with_fields
from pathlib import Path

import numpy as np
import pytest
from webdataset import WebDataset  # pyright: ignore[reportAttributeAccessIssue]  # it fills its namespace itself

from avctl.media.load import load_frames, load_sound
from avctl.schema import Recipe
from avctl.store import webdataset as module
from avctl.store.reader import ClipStore
from avctl.store.webdataset import write_tars


@pytest.fixture
def store(tiny_store: Path) -> ClipStore:
    return ClipStore(tiny_store)


def samples(tars: list[Path]) -> list[dict]:
    return list(WebDataset(list(map(str, tars)), shardshuffle=False))


def test_every_clip_is_read_by_webdataset(store: ClipStore, tiny: Recipe, tmp_path: Path) -> None:
    rows = store.clips("train")
    tars = write_tars(store, rows, tiny.clip, tmp_path)
    assert [tar.name for tar in tars] == ["train-00000.tar"]
    found = samples(tars)
    assert [sample["__key__"] for sample in found] == [row.clip_id for row in rows]
    for row, sample in zip(rows, found, strict=True):
        (tmp_path / "clip.mp4").write_bytes(sample["mp4"])
        frames = load_frames(tmp_path / "clip.mp4", tiny.clip, tiny.clip.frames)
        assert np.abs(frames.astype(int) - store.frames(row)).mean() < 10  # 4:2:0 blurs the colours of 8 x 8 pixels
        sound = load_sound(tmp_path / "clip.mp4", tiny.clip, tiny.clip.samples)
        assert np.abs(sound - store.audio(row) / 32_768).mean() < 0.02
        assert sample["txt"].decode() == row.caption
        about = json.loads(sample["json"])
        assert (about["clip_id"], about["truth"], about["fps"]) == (row.clip_id, row.truth, 8)
        assert row.video_latents
        assert np.array_equal(np.load(io.BytesIO(sample["video_latents.npy"])), store.read(row.video_latents))


def test_a_clip_without_sound_or_picture_keeps_what_it_has_exactly(
    store: ClipStore, tiny: Recipe, tmp_path: Path
) -> None:
    first, second = store.clips("train")[:2]
    mute = with_fields(first, audio=None, audio_latents=None)
    dark = with_fields(second, video=None, video_latents=None)
    seen, heard = samples(write_tars(store, [mute, dark], tiny.clip, tmp_path))
    assert np.array_equal(np.load(io.BytesIO(seen["frames.npy"])), store.frames(first))
    with wave.open(io.BytesIO(heard["wav"])) as file:
        assert (file.getframerate(), file.getnchannels()) == (8_000, 2)
        assert file.readframes(10**6) == store.audio(second).tobytes()
    assert not {"mp4", "wav", "audio_latents.npy"} & set(seen) and not {"mp4", "video_latents.npy"} & set(heard)


def test_splits_have_tars_of_their_own_that_are_no_longer_than_a_shard(
    store: ClipStore, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_BYTES", 80_000)
    done: list[int] = []
    tars = write_tars(store, store.clips(), tiny.clip, tmp_path, done.append)
    names = [tar.name for tar in tars]
    assert names[0] == "test-00000.tar" and "train-00000.tar" in names and "train-00001.tar" in names
    assert names == sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert sorted(sample["__key__"] for sample in samples(tars)) == [row.clip_id for row in store.clips()]
    assert done == list(range(1, 13))


def test_equal_clips_are_equal_bytes_and_a_failure_leaves_nothing_half_written(
    store: ClipStore, tiny: Recipe, tmp_path: Path
) -> None:
    first, second = (write_tars(store, store.clips("test"), tiny.clip, tmp_path / name) for name in "ab")
    assert first[0].read_bytes() == second[0].read_bytes()
    with tarfile.open(first[0]) as tar:
        assert {entry.mtime for entry in tar} == {0}

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tars(store, store.clips("test"), tiny.clip, tmp_path / "c", stop)
    assert list((tmp_path / "c").iterdir()) == []


def test_nothing_is_written_for_no_clips(tiny: Recipe, tmp_path: Path, clips: Callable[[Path, Recipe], Path]) -> None:
    assert write_tars(ClipStore(clips(tmp_path / "s", tiny)), [], tiny.clip, tmp_path / "t") == []
