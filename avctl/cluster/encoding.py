"""Latents of finished shards: in the caller's process, or in a process on each GPU where there are several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avctl.curate.pool import Pool, Progress, Steps
from avctl.curate.prepare import Candidate, Outcome
from avctl.curate.shards import Shard, WorkFolder, cut_clips
from avctl.curate.worker import Fault, end_with_parent
from avctl.job import MachineError, deaf_children
from avctl.schema import Clip, Preprocess, Runtime

if TYPE_CHECKING:
    from avctl.codecs.encode import Encoder

_spawn = get_context("spawn")


@dataclass(frozen=True)
class Prepared:
    """A shard that is cut into clips, and these."""

    shard: Shard
    cuts: tuple[Candidate, ...]

    @staticmethod
    def of(shard: Shard, results: Iterable[Outcome | Fault]) -> Prepared:
        return Prepared(shard, tuple(cut_clips(result for result in results if isinstance(result, Outcome))))

    @property
    def number(self) -> int:
        return self.shard.number


Encode = Callable[[Prepared], None]


class EncodeShard:
    """Writes the latents of a finished shard beside its clips. Sent to other processes by pickle."""

    def __init__(self, workspace: WorkFolder, preprocess: Preprocess, clip: Clip, codec: Path | None, runtime: Runtime):
        self._workspace, self._preprocess, self._clip = workspace, preprocess, clip
        self._codec, self._runtime = codec, runtime

    @cached_property
    def encoder(self) -> Encoder:
        """The codecs, loaded once a process. MachineError where the recipe asks for a device that is not there."""
        from avctl.codecs.encode import Encoder
        from avctl.compute.device import prepare

        return Encoder(self._preprocess, self._clip, self._codec, prepare(self._runtime))

    def load(self) -> None:
        """Now rather than at the first shard."""
        _ = self.encoder

    def __call__(self, prepared: Prepared) -> None:
        shard, cuts, workspace = prepared.shard, prepared.cuts, self._workspace
        frames, audio = (read(shard, cuts, scratch=True) for read in (workspace.frames, workspace.audio))
        workspace.write_latents(shard, self.encoder(frames, audio))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "encoder"}


class EncodingPool:
    """A pool whose finished shards went through `encode`: in one process for each GPU of this machine if there are
    several, else in the caller's. The bytes do not depend on it."""

    def __init__(self, pool: Pool[Shard, Outcome], encode: Encode, num_gpus: Callable[[], int]):
        self._pool, self._encode, self._num_gpus = pool, encode, num_gpus

    @property
    def num_workers(self) -> int:
        return self._pool.num_workers

    @contextmanager
    def run(self, shards: Sequence[Shard]) -> Iterator[Steps[Shard, Outcome]]:
        with self._pool.run(shards) as steps:
            num_gpus = self._num_gpus()
            if num_gpus < 2:
                yield encoded_here(steps, self._encode)
                return
            numbers = _spawn.SimpleQueue()
            for number in range(num_gpus):
                numbers.put(number)
            executor = ProcessPoolExecutor(num_gpus, _spawn, _begin, (self._encode, numbers))
            try:
                yield _encoded_there(steps, executor)
            finally:
                executor.shutdown(cancel_futures=True)


def encoded_here(steps: Steps[Shard, Outcome], encode: Encode) -> Steps[Shard, Outcome]:
    """The steps, each finished shard with its latents."""
    for step in steps:
        if step and step.is_finished:
            encode(Prepared.of(step.shard, step.results))
        yield step


def _encoded_there(steps: Steps[Shard, Outcome], executor: ProcessPoolExecutor) -> Steps[Shard, Outcome]:
    running: dict[Future[None], Progress[Shard, Outcome]] = {}
    try:
        for step in steps:
            if step and step.is_finished:
                with deaf_children():
                    running[executor.submit(_encode_mine, Prepared.of(step.shard, step.results))] = step
            else:
                yield step
            yield from _done(running)
        while running:
            wait(running, 0.5, FIRST_COMPLETED)
            yield None
            yield from _done(running)
    except BrokenProcessPool as error:
        hint = "it may have lacked memory; the same command goes on with the shards that are left"
        raise MachineError("a process that makes latents was killed, or did not start", hint) from error


def _done(running: dict[Future[None], Progress[Shard, Outcome]]) -> Steps[Shard, Outcome]:
    for future in [future for future in running if future.done()]:
        future.result()
        yield running.pop(future)


_mine: Encode  # of a process of its own, which loads the codecs once


def _begin(encode: Encode, numbers: SimpleQueue[int]) -> None:
    """A process takes the next GPU."""
    global _mine
    import torch

    end_with_parent()
    _mine = encode
    number = numbers.get()
    if torch.cuda.is_available():
        torch.cuda.set_device(number)


def _encode_mine(prepared: Prepared) -> None:
    _mine(prepared)
