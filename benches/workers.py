"""The workers of preprocess: the memory of one and its growth, and what a second one gains.

Two cores of a virtual machine may be two threads of one: what a second process gains then depends on what it computes.
A loop in NumPy and Python, without files, locks or much memory, is timed in the same run: nothing gains much more.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avctl.curate.pool import LocalPool
from avctl.curate.prepare import Source
from avctl.curate.shards import PrepareShard, Shard, group
from avctl.curate.worker import Budget, Fault, Work, Worker
from avctl.media.mux import write_mp4
from avctl.recipe.content import sha256
from avctl.schema import Clip, Preprocess
from benches.frame import Row, children_s, megabytes

COMMAND = "python -m benches workers"
CLIP = Clip(seconds=2.0, size=(32, 32), fps=8, sample_rate=16_000)
BUDGET = Budget(seconds=60.0, memory_mb=4_096, output_mb=4_096)
LOOKS = (0, 200, 2_000)  # files after which the memory of a worker is looked at
FILMS, BAD = 9, 1  # different files; the bad ones are cut short
SHARDS, SHARD_FILES = 24, 10  # a run of the timing
REPEATS = 3


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = _write_films(folder)
        memory = _memory(folder, sources)
        for count in LOOKS:
            yield Row("workers", f"memory of a worker after {count} files", "MB", COMMAND, (memory[count],))
        yield Row("workers", "largest memory of a worker", "MB", COMMAND, (memory[-1],))
        many = [source for source in sources[:FILMS] for _ in range(SHARDS * SHARD_FILES // FILMS + 1)]
        shards = group([(source, 0) for source in many[: SHARDS * SHARD_FILES]], SHARD_FILES)
        yield from _scaling("files", shards, lambda: PrepareShard(folder / f"scratch-{time.monotonic_ns()}", *SECTIONS))
        yield from _scaling("busy loops", shards, lambda: spin)


SECTIONS = Preprocess(), CLIP


def _write_films(folder: Path) -> list[Source]:
    """2.5 s of 180p each, a square that moves over a pattern, and a tone; the last ones end in the middle."""
    made = []
    for number in range(FILMS + BAD):
        path = folder / f"{number}.mp4"
        noise = np.random.default_rng(number).integers(0, 255, (22, 40, 3), np.uint8)
        still = np.kron(noise, np.ones((8, 8, 1), np.uint8))
        frames = np.tile(still, (60, 1, 1, 1))
        for t, frame in enumerate(frames):
            frame[40:80, 4 * t : 4 * t + 40] = 255
        tone = 0.3 * np.sin(np.arange(40_000, dtype=np.float32) * (0.1 + 0.01 * number))[:, None]
        write_mp4(path, frames, tone, 24, 16_000)
        if number >= FILMS:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        made.append(Source(sha256(path), path, path.name, None, None, None))
    return made


def _memory(folder: Path, sources: Sequence[Source]) -> dict[int, float]:
    """Megabytes that one worker holds, by the number of files that it had; the most that it ever held under -1."""
    worker = Worker(PrepareShard(folder / "memory", *SECTIONS), BUDGET)
    found, count = {}, 0
    many = [(source, 0) for _ in range(LOOKS[-1] // len(sources)) for source in sources]
    for shard in group(many, LOOKS[1]):
        worker.give(shard)
        while not worker.listen():
            if not worker.done:
                found.setdefault(count, megabytes(worker.pid, "VmRSS"))
        count += len(shard)
        found[count] = megabytes(worker.pid, "VmRSS")
    found[-1] = megabytes(worker.pid, "VmHWM")
    worker.kill()
    return found


def spin(shard: Shard, done: list[Any]) -> Generator[Any, None, None]:
    """A loop of about the length of a file."""
    values = np.linspace(0, 1, 4_096)
    for _ in shard[len(done) :]:
        total = 0.0
        for _ in range(8_000):
            total += float((values * values).sum()) + sum(range(100))
        yield Fault("error", f"{total:g}")


def _scaling(what: str, shards: Sequence[Shard], work_of: Any) -> Iterator[Row]:
    """Rate of one and of two processes, taken in turns, from their first result on; and how much the second gains."""
    rates: dict[int, list[float]] = defaultdict(list)
    processor: dict[int, list[float]] = defaultdict(list)
    for _ in range(REPEATS):
        for workers in (1, 2):
            rate, seconds = _run(work_of(), shards, workers)
            rates[workers].append(rate)
            processor[workers].append(seconds)
    for workers in (1, 2):
        name = f"{what}, {workers} process{'es' * (workers > 1)}"
        yield Row("workers", name, "a second", COMMAND, tuple(rates[workers]))
        yield Row("workers", name, "s of processor each", COMMAND, tuple(processor[workers]))
    gains = tuple(two / one for one, two in zip(rates[1], rates[2], strict=True))
    yield Row("workers", f"{what}, two processes to one", "times", COMMAND, gains)


def _run(work: Work[Any, Any], shards: Sequence[Shard], workers: int) -> tuple[float, float]:
    """Files a second once every worker is at work, and processor seconds a file with the start of the workers."""
    before, times = children_s(), []
    begun: set[int] = set()
    with LocalPool(work, workers, BUDGET).run(shards) as steps:
        for step in steps:
            if step and not step.is_finished:
                begun.add(step.shard.number)
                times += [time.perf_counter()] * (len(begun) >= workers)
    seconds = children_s() - before
    return (len(times) - 1) / (times[-1] - times[0]), seconds / (SHARDS * SHARD_FILES)
