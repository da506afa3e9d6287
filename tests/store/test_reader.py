"""A store is written clip by clip and read back by row, by this reader and by plain Zarr."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr

from avctl.schema import Clip
from avctl.store.chunks import DamagedStore
from avctl.store.index import Value, place_columns, write_index
from avctl.store.layout import layout
from avctl.store.reader import ClipStore
from avctl.store.writer import Writer

CLIP = Clip(
    seconds=0.75, size=(16, 24), fps=16, sample_rate=8_000, other_seconds=(0.25,), other_sizes=((24, 16),)
)  # 12 frames: a chunk and a half
Data = dict[str, np.ndarray]  # of one clip, by kind


def clip_of(bucket: Clip, seed: int) -> Data:
    """Random data of every kind; latents of half the frames, and of 25 a second."""
    generator, (height, width) = np.random.default_rng(seed), bucket.size
    shapes = {
        "video": ((bucket.frames, height, width, 3), "uint8"),
        "audio": ((bucket.samples, 2), "int16"),
        "video_latents": ((bucket.frames // 2, 5, height // 8, width // 8), "float16"),
        "audio_latents": ((round(bucket.seconds * 25), 7), "float16"),
    }
    return {kind: generator.integers(0, 200, shape).astype(dtype) for kind, (shape, dtype) in shapes.items()}


def write_store(artifact: Path, clips: list[tuple[Clip, Data]]) -> None:
    """An artifact whose clip `i` is called `i`; odd ones are in split `test`, the last row was dropped."""
    plan = layout(CLIP, {(16, 24): (6, 5, 2, 3), (24, 16): (6, 5, 3, 2)}, (19, 7))
    writer, rows = Writer(artifact / "clips.zarr"), list[dict[str, Value]]()
    for i, (bucket, data) in enumerate(clips):
        places = {kind: writer.append(plan.series(kind, bucket.size), values) for kind, values in data.items()}
        row: dict[str, Value] = {"clip_id": f"{i:03d}", "source_sha256": "s", "start_s": float(i), "key": "k"}
        row |= {"split": "test" if i % 2 else "train", "caption": f"clip {i}", "truth": '{"events_s": [0.5]}'}
        rows.append(row | {"skew": 0.25, "padded": 0, "sharpness": i / 2, "snr_db": None} | place_columns(places))
    writer.close()
    rows.append({"source_sha256": "s", "start_s": 99.0, "split": "train", "reason": "blur", "sharpness": 0.1})
    write_index(artifact / "index.sqlite", ["sharpness", "snr_db"], rows, {"quarantine": []})


@pytest.fixture
def clips() -> list[tuple[Clip, Data]]:
    """Two of every bucket."""
    return [(CLIP.buckets[i % 4], clip_of(CLIP.buckets[i % 4], i)) for i in range(8)]


@pytest.fixture
def store(tmp_path: Path, clips: list[tuple[Clip, Data]]) -> ClipStore:
    write_store(tmp_path, clips)
    return ClipStore(tmp_path)


def test_clips_of_every_length_and_size_come_back_as_they_were_written(
    store: ClipStore, clips: list[tuple[Clip, Data]]
) -> None:
    rows = store.clips()
    assert [row.clip_id for row in rows] == [f"{i:03d}" for i in range(8)]
    for row, (_, data) in zip(rows, clips, strict=True):
        assert np.array_equal(store.frames(row), data["video"])
        assert np.array_equal(store.audio(row), data["audio"])
        for place, kind in ((row.video_latents, "video_latents"), (row.audio_latents, "audio_latents")):
            assert place and np.array_equal(store.read(place), data[kind])
    assert rows[3].scores == {"sharpness": 1.5, "snr_db": None}
    assert rows[3].truth == {"events_s": [0.5]}


def test_clips_without_picture_without_sound_or_with_one_picture(tmp_path: Path) -> None:
    data = clip_of(CLIP, 0)
    image = {kind: data[kind][:1] for kind in ("video", "video_latents")}
    mute = {kind: data[kind] for kind in ("video", "video_latents")}
    dark = {kind: data[kind] for kind in ("audio", "audio_latents")}
    write_store(tmp_path, [(CLIP, image), (CLIP, mute), (CLIP, dark), (CLIP, data)])
    store = ClipStore(tmp_path)
    rows = store.clips()
    assert store.frames(rows[0]).shape == (1, 16, 24, 3) and rows[0].audio is None
    assert np.array_equal(store.frames(rows[1]), data["video"])
    assert np.array_equal(store.audio(rows[2]), data["audio"])
    for read, row, what in ((store.audio, rows[1], "sound"), (store.frames, rows[2], "picture")):
        with pytest.raises(ValueError, match=f"has no {what}"):
            read(row)
    assert store.clips(clip=CLIP) == [rows[3]]


def test_a_window_holds_its_frames(store: ClipStore, clips: list[tuple[Clip, Data]]) -> None:
    row, video = store.clips()[4], clips[4][1]["video"]
    for start in range(12):
        for stop in range(start, 13):
            assert np.array_equal(store.frames(row, start, stop), video[start:stop])
    for start, stop in ((-1, 3), (0, 13), (5, 4)):
        with pytest.raises(ValueError, match="of a clip of 12"):
            store.frames(row, start, stop)


def test_a_window_reads_its_chunks_only(store: ClipStore) -> None:
    file = store.artifact / "clips.zarr/video/16x24/c/0/0/0/0"
    data = bytearray(file.read_bytes())
    data[16 * 24 * 3 * 8 + 50] ^= 1  # in the second chunk of the first clip
    file.write_bytes(data)
    row = store.clips()[0]
    store.frames(row, 0, 8)
    with pytest.raises(DamagedStore):
        store.frames(row, 0, 9)


def test_latents_come_back_in_the_order_asked_for(store: ClipStore, clips: list[tuple[Clip, Data]]) -> None:
    places = [place for row in store.clips() if (place := row.video_latents)]
    latents = store.stack([places[i] for i in (5, 1, 5)])
    assert np.array_equal(latents, [clips[i][1]["video_latents"] for i in (5, 1, 5)]) and latents.dtype == np.float16


def test_clips_of_different_shapes_make_no_batch(store: ClipStore) -> None:
    for rows in (store.clips()[:2], []):
        with pytest.raises(ValueError, match="make no batch"):
            store.stack([row.video_latents for row in rows if row.video_latents])


def test_a_split_and_a_bucket_hold_their_clips_only(store: ClipStore) -> None:
    assert [row.clip_id for row in store.clips("test")] == ["001", "003", "005", "007"]
    for number, bucket in enumerate(CLIP.buckets):
        assert [row.clip_id for row in store.clips(clip=bucket)] == [f"{number:03d}", f"{number + 4:03d}"]
    assert [row.clip_id for row in store.clips("test", CLIP.buckets[1])] == ["001", "005"]


@pytest.mark.parametrize("pipeline", ["zarr.core.codec_pipeline.BatchedCodecPipeline", "zarrs.ZarrsCodecPipeline"])
def test_plain_zarr_reads_the_store(store: ClipStore, clips: list[tuple[Clip, Data]], pipeline: str) -> None:
    with zarr.config.set({"codec_pipeline.path": pipeline}):
        group = zarr.open_group(store.artifact / "clips.zarr", mode="r")
        for row, (_, data) in zip(store.clips(), clips, strict=True):
            assert row.video and row.audio_latents
            for place, values in ((row.video, data["video"]), (row.audio_latents, data["audio_latents"])):
                array = group[place.name]
                assert isinstance(array, zarr.Array)
                assert np.array_equal(array[place.offset : place.offset + place.length], values)


def test_tensorstore_reads_the_store(store: ClipStore, clips: list[tuple[Clip, Data]]) -> None:
    for row, (_, data) in zip(store.clips(), clips, strict=True):
        assert row.video
        path = str(store.artifact / "clips.zarr" / row.video.name)
        array = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}).result()
        read = array[row.video.offset : row.video.offset + row.video.length].read().result()
        assert np.array_equal(read, data["video"])


def test_files_and_shapes_are_told(store: ClipStore) -> None:
    row = store.clips()[2]
    assert row.video and store.shape(row.video) == (12, 24, 16, 3)
    assert store.file_of(row.video) == ("video/24x16", 0)
    assert store.file_of(replace(row.video, name="video/16x24")) == ("video/16x24", 0)


def test_a_store_can_be_sent_to_another_process(store: ClipStore, clips: list[tuple[Clip, Data]]) -> None:
    store.frames(store.clips()[0])
    again = pickle.loads(pickle.dumps(store))
    assert np.array_equal(again.frames(again.clips()[1]), clips[1][1]["video"])


def digest(folder: Path) -> str:
    """One hash over the names and bytes of all files below `folder`."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in found]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def test_equal_clips_give_equal_bytes(tmp_path: Path, clips: list[tuple[Clip, Data]]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_store(tmp_path / name, clips)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
