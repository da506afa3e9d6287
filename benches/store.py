"""What a random read of the store costs, cold and warm, beside other ways to keep the same clips (`formats.py`).

All are read in one process, in rounds that alternate. Clips have 256x448, 448x256 and 320x320 pixels and 49 to 121
frames. Warm is what was read at random before: pages that came that way are copied at a third of the speed of those
that came in order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from math import ceil, prod
from pathlib import Path

import numpy as np

from avctl.schema import Clip
from avctl.store.index import Value, write_index
from avctl.store.layout import Series, layout
from avctl.store.reader import ClipStore
from benches.formats import READERS, Kept, in_order, keep
from benches.frame import Row, Timings

BENCH, COMMAND = "store", "python -m benches store"
SIZES, LENGTHS = ((256, 448), (448, 256), (320, 320)), (49, 73, 97, 121)
WINDOW, NUM_CLIPS, NUM_LATENTS = 16, 16, 256
ROUNDS, READS = 5, 24
CLIP = Clip(seconds=5, size=SIZES[0], other_sizes=SIZES[1:])


def rows() -> Iterator[Row]:
    """About 2 GB are written below the folder for temporary files, and a tenth of that is read at random."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _windows(Path(folder))
    for length in (22, 11):  # latent frames of 57 kB
        with tempfile.TemporaryDirectory() as folder:
            yield from _latents(Path(folder), length)
    with tempfile.TemporaryDirectory() as folder:
        yield from _index(Path(folder), 10_000)
    yield from _files()


def _windows(folder: Path) -> Iterator[Row]:
    plan, choose = layout(CLIP), np.random.default_rng(1)
    shapes = [(int(choose.choice(LENGTHS)), *SIZES[i % 3], 3) for i in range(NUM_CLIPS)]
    kept = keep(folder, [(plan.video[shape[1], shape[2]], shape) for shape in shapes])
    _require_equal(kept, [(clip, clip, clip + WINDOW) for clip in range(6)])
    timings = Timings(BENCH, COMMAND)
    for turn in range(ROUNDS):
        draw = np.random.default_rng((2, turn))
        wanted = [int(i) for i in draw.integers(NUM_CLIPS, size=READS)]
        starts = [int(draw.integers(shapes[i][0] - WINDOW + 1)) for i in wanted]
        for name, opened in READERS.items():
            with timings(f"16-frame window, cold: {name}", READS):
                for clip, start in zip(wanted, starts, strict=True):
                    with timings.paused():
                        kept.drop()
                        read = opened(kept)
                    read(clip, start, start + WINDOW)
                    with timings.paused():
                        del read  # mapped pages cannot be dropped
            read = opened(kept)
            with timings(f"16-frame window, warm: {name}", READS):
                with timings.paused():
                    for clip, start in zip(wanted, starts, strict=True):
                        read(clip, start, start + WINDOW)
                for clip, start in zip(wanted, starts, strict=True):
                    read(clip, start, start + WINDOW)
            del read
        with timings("16-frame window, in order: webdataset", NUM_CLIPS):
            for clip in in_order(kept):
                clip[:WINDOW].copy()
    yield from timings.rows()


def _require_equal(kept: Kept, windows: list[tuple[int, int, int]]) -> None:
    """All readers give what was written."""
    expected = [READERS["np.memmap"](kept)(*window) for window in windows]
    for name, opened in READERS.items():
        read = opened(kept)
        if not all(np.array_equal(read(*window), values) for window, values in zip(windows, expected, strict=True)):
            raise RuntimeError(f"{name} reads something else")


def _latents(folder: Path, length: int) -> Iterator[Row]:
    series = Series("latents/video/32x56", (16, 32, 56), "float16", 4)
    shape = (length, *series.item)
    kept = keep(folder, [(series, shape)] * NUM_LATENTS)
    _require_equal(kept, [(clip, 0, length) for clip in range(4)])
    size = 2 * prod(shape)
    timings = Timings(BENCH, COMMAND)
    for turn in range(ROUNDS):
        wanted = np.random.default_rng((3, turn)).permutation(NUM_LATENTS).tolist()
        for name, opened in READERS.items():
            read = opened(kept)
            kept.drop()
            for state in ("cold", "warm"):
                with timings(f"latents of a clip, {size / 1e6:.2f} MB, {state}: {name}", NUM_LATENTS):
                    for clip in wanted:
                        read(clip, 0, length)
            del read
        with timings(f"latents of a clip, {size / 1e6:.2f} MB, in order: webdataset", NUM_LATENTS):
            for _ in in_order(kept):
                pass
    yield from timings.rows()
    for what, walls, processor in timings.items():
        if "warm" in what:
            yield Row(BENCH, what, "GB/s", COMMAND, tuple(size / 1e9 / s for s in walls))
            yield Row(BENCH, what, "GB a second of processor", COMMAND, tuple(size / 1e9 / s for s in processor))


def _index(folder: Path, count: int) -> Iterator[Row]:
    """Opening a data set of so many clips."""
    row: dict[str, Value] = {"split": "train", "source_sha256": "s" * 64, "caption": "a clip of something " * 4}
    row |= {"truth": None, "key": "k" * 64, "skew": 0.1, "padded": 0, "video": "video/256x448", "frames": 120}
    row |= {"audio": "audio/48000x2", "samples": 240_000, "sharpness": 1.0}
    numbered = (row | {"clip_id": f"{i:064d}", "start_s": float(i), "video_offset": i * 120} for i in range(count))
    write_index(folder / "index.sqlite", ["sharpness"], numbered, {})
    timings = Timings(BENCH, COMMAND)
    for _ in range(ROUNDS):
        with timings(f"index of {count:,} clips"):
            assert len(ClipStore(folder).clips()) == count
    yield from timings.rows()


def _files() -> Iterator[Row]:
    """Files of 10,000 clips, by the sizes of shards and chunks."""
    for what, clip, latents, audio in (
        (
            "clips of 2 s, 32x32, Haar",
            Clip(seconds=2, size=(32, 32), fps=16, sample_rate=16_000),
            (32, 192, 4, 4),
            (101, 640),
        ),
        ("clips of 5 s, 256x448, latents of 1.26 MB only", CLIP, (22, 16, 32, 56), (250, 64)),
    ):
        plan = layout(clip, {clip.size: latents}, audio)
        assert plan.audio_latents
        arrays = [(plan.video_latents[clip.size], latents[0]), (plan.audio_latents, audio[0])]
        if clip is not CLIP:
            arrays += [(plan.video[clip.size], clip.frames), (plan.audio, clip.samples)]
        files = sum(ceil(10_000 * series.chunks(length) / series.shard) for series, length in arrays)
        yield Row(BENCH, f"10,000 {what}", "files", COMMAND, (files + len(arrays) + 1,))
