"""What packing and buckets leave unused, what finding a batch costs, and what a second process that loads brings.

The mixture: clips of three sizes and of 2 to 10 s as shots have them (log-normal, median 4 s), a tenth of images, a
twentieth of sound alone; video tokens of 16x16 pixels and four frames, sound tokens of 20 ms.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avctl.data.batches import Batches, sizes
from avctl.data.order import Order
from avctl.data.packs import Packs
from avctl.data.prefetch import prefetched
from avctl.store.index import Place
from avctl.store.layout import layout
from avctl.store.reader import ClipStore
from avctl.store.writer import Writer
from benches.frame import Row, Timings, megabytes
from benches.store import CLIP, SIZES, WINDOW

BENCH, COMMAND = "loader", "python -m benches loader"
NUM_CLIPS, ROUNDS = 20_000, 3
FPS, TIME, CELL, SOUND_HZ = 24, 4, 16, 50
BUCKET_SECONDS = (2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
BATCHES, WINDOWS_A_BATCH = 40, 4


def rows() -> Iterator[Row]:
    yield from _packing()
    yield from _buckets()
    with tempfile.TemporaryDirectory() as folder:
        load = _store(Path(folder))
        yield from _processes(load)
        yield from _memory(load)


def mixture(count: int) -> list[tuple[tuple[int, int], float]]:
    """Size and seconds of clips; an image has 0 seconds, and sound alone has no pixels."""
    chance = random.Random(0)
    clips = []
    for _ in range(count):
        seconds = min(10.0, max(2.0, chance.lognormvariate(1.386, 0.5)))
        kind = chance.random()
        size = chance.choices(SIZES, (6, 2, 2))[0]
        clips.append((size, 0.0) if kind < 0.1 else ((0, 0), seconds) if kind < 0.15 else (size, seconds))
    return clips


def tokens(size: tuple[int, int], seconds: float) -> int:
    """Of picture and sound."""
    frames = max(1, int(seconds * FPS) // TIME) if size[0] else 0
    return frames * (size[0] // CELL) * (size[1] // CELL) + int(seconds * SOUND_HZ)


def _packing() -> Iterator[Row]:
    lengths = [tokens(*clip) for clip in mixture(NUM_CLIPS)]
    timings = Timings(BENCH, COMMAND)
    for budget in (32_768, 65_536, 131_072):
        made = Packs(Order(NUM_CLIPS, 0), lengths, budget)
        with timings(f"packing {NUM_CLIPS:,} clips into {budget:,} tokens"):
            made.epoch(0)
        waste_by_epoch = tuple(100 * made.waste(epoch) for epoch in range(3))
        yield Row(BENCH, f"tokens of a pack of {budget:,} unused", "%", COMMAND, waste_by_epoch)
    yield from timings.rows()


def _buckets() -> Iterator[Row]:
    """Every clip with picture and sound is cut to the longest length that it holds."""
    whole = [(size, seconds) for size, seconds in mixture(NUM_CLIPS) if size[0] and seconds]
    buckets = [(size, max(each for each in BUCKET_SECONDS if each <= seconds)) for size, seconds in whole]
    counts = Counter(buckets)
    each = {bucket: tokens(*bucket) for bucket in counts}
    for budget in (32_768, 65_536, 131_072):
        what = f"tokens of a batch of {budget:,} unused, in {len(counts)} buckets"
        batches = sum(count / sizes(each, budget)[bucket] for bucket, count in counts.items())
        used = sum(count * each[bucket] for bucket, count in counts.items()) / (budget * batches)
        yield Row(BENCH, what, "%", COMMAND, (100 * (1 - used),))
    cut = 1 - sum(seconds for _, seconds in buckets) / sum(seconds for _, seconds in whole)
    yield Row(BENCH, f"seconds cut off by {len(BUCKET_SECONDS)} lengths", "%", COMMAND, (100 * cut,))
    timings = Timings(BENCH, COMMAND)
    for _ in range(ROUNDS):
        batches = Batches(Order(len(buckets), 0), buckets, sizes(each, 65_536))
        with timings(f"finding the first batch of {len(buckets):,} clips, 1,000 epochs on"):
            first = batches.before(1_000)
            batches(first)
        with timings("finding the next batch", 1_000):
            for number in range(first + 1, first + 1_001):
                batches(number)
    yield from timings.rows()


@dataclass(frozen=True)
class Windows:
    """Random windows of frames as a batch, by its number."""

    store: ClipStore
    places: tuple[Place, ...]

    def __call__(self, number: int) -> Tensor:
        chance = random.Random(number)
        frames = np.empty((WINDOWS_A_BATCH, WINDOW, *SIZES[0], 3), np.uint8)
        for window in frames:
            place = chance.choice(self.places)
            start = place.offset + chance.randrange(place.length - WINDOW)
            self.store.read(Place(place.name, start, WINDOW), window)
        pixels = torch.from_numpy(frames)[:, :, ::2, ::2].float() / 127.5 - 1
        return pixels.mean(1).half()


def _store(folder: Path) -> Windows:
    """24 clips of 5 s."""
    series, generator = layout(CLIP).video[SIZES[0]], np.random.default_rng(0)
    writer = Writer(folder / "clips.zarr")
    places = [writer.append(series, generator.integers(0, 255, (120, *series.item), np.uint8)) for _ in range(24)]
    writer.close()
    return Windows(ClipStore(folder), tuple(places))


def _processes(load: Windows) -> Iterator[Row]:
    """Windows a second by the number of processes, once they are at work, and beside it what pure arithmetic gains."""
    for name, function in (("windows read and averaged", load), ("windows of noise averaged", noise)):
        rates: dict[int, list[float]] = {0: [], 1: [], 2: []}
        for _ in range(ROUNDS):
            for workers, values in rates.items():
                values.append(_rate(function, workers))
        for workers, values in rates.items():
            what = f"{name}, {workers} processes" if workers else f"{name}, a thread"
            yield Row(BENCH, what, "windows/s", COMMAND, tuple(values))
        gains = tuple(two / one for one, two in zip(rates[1], rates[2], strict=True))
        yield Row(BENCH, f"{name}, from one process to two", "times", COMMAND, gains)


def noise(number: int) -> Tensor:
    """As much arithmetic as a batch of windows, without a read."""
    frames = torch.full((WINDOWS_A_BATCH, WINDOW, *SIZES[0], 3), number % 256, dtype=torch.uint8)
    return (frames[:, :, ::2, ::2].float() / 127.5 - 1).mean(1).half()


def _rate(load: Callable[[int], Tensor], workers: int) -> float:
    """Windows a second."""
    warm_up = 4 * max(1, workers)
    with closing(prefetched(load, lambda batch: batch, range(BATCHES + warm_up), workers)) as batches:
        for _ in range(warm_up):
            next(batches)
        start = time.perf_counter()
        count = sum(WINDOWS_A_BATCH for _ in batches)
        return count / (time.perf_counter() - start)


def _memory(load: Windows) -> Iterator[Row]:
    """What this process holds, after so many reads."""
    held = []
    for number in range(500):
        load(number)
        if number in (50, 499):
            held.append(megabytes("self"))
    yield Row(BENCH, "growth of a reader over 1,800 windows", "MB", COMMAND, (held[1] - held[0],))
