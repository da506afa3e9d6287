"""The clips of a data set as tar files for `webdataset`, each under its id, a file a kind.

`mp4` is picture and sound, compressed: close, not exact. A picture without sound is `frames.npy`, sound without a
picture is `wav`; both are exact, and so are `video_latents.npy` and `audio_latents.npy`. `txt` is the caption, `json`
what else the index says. Equal artifacts give equal bytes on one machine.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import wave
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path

import numpy as np

from avctl.files import replacing
from avctl.media.mux import write_mp4
from avctl.schema import Clip
from avctl.store.layout import SHARD_BYTES
from avctl.store.reader import ClipRow, ClipStore

FULL_SCALE = 32_768  # of stored samples


def write_tars(
    store: ClipStore, rows: Sequence[ClipRow], clip: Clip, folder: Path, on_clip: Callable[[int], None] = lambda n: None
) -> list[Path]:
    """`train-00000.tar` and so on below `folder`, for each split; `clip` is the recipe's. `on_clip` is told how many
    clips are done. DamagedStore where a checksum does not match."""
    folder.mkdir(parents=True, exist_ok=True)
    tars: list[Path] = []
    done = 0
    for split, members in groupby(sorted(rows, key=lambda row: row.split), key=lambda row: row.split):
        waiting, before = iter(members), len(tars)
        for first in waiting:
            path = folder / f"{split}-{len(tars) - before:05d}.tar"
            with replacing(path) as part, tarfile.open(part, "w") as tar:
                for row in chain([first], waiting):
                    for name, data in _files(store, row, clip):
                        _add(tar, f"{row.clip_id}.{name}", data)
                    done += 1
                    on_clip(done)
                    if tar.offset >= SHARD_BYTES:
                        break
            tars.append(path)
    return tars


def _files(store: ClipStore, row: ClipRow, clip: Clip) -> Iterator[tuple[str, bytes]]:
    """Suffix and bytes of every file of a clip."""
    if row.video and row.audio:
        yield "mp4", _mp4(store.frames(row), store.audio(row), clip)
    elif row.video:
        yield "frames.npy", _npy(store.frames(row))
    elif row.audio:
        yield "wav", _wav(store.audio(row), clip)
    for name, place in (("video_latents", row.video_latents), ("audio_latents", row.audio_latents)):
        if place:
            yield f"{name}.npy", _npy(store.read(place))
    yield "txt", row.caption.encode()
    about = {"clip_id": row.clip_id, "split": row.split, "truth": row.truth, "scores": row.scores, "skew": row.skew}
    about |= {"source_sha256": row.source_sha256, "start_s": row.start_s, "key": row.key}
    yield "json", json.dumps(about | {"fps": clip.fps, "sample_rate": clip.sample_rate}, sort_keys=True).encode()


def _mp4(frames: np.ndarray, audio: np.ndarray, clip: Clip) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_mp4(path, frames, audio.astype(np.float32) / FULL_SCALE, clip.fps, clip.sample_rate)
        return path.read_bytes()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _wav(audio: np.ndarray, clip: Clip) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((audio.shape[1], 2, clip.sample_rate, len(audio), "NONE", ""))
        file.writeframes(audio.astype("<i2").tobytes())
    return stream.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
