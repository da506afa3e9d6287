"""Synthetic clips: rendered to mp4 by child processes, ahead of the workers that fetch them over loopback HTTP."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from avctl.crawl.frontier import Item
from avctl.crawl.render import Sidecar, end_with_parent, render_clip
from avctl.job import StageError, deaf_children
from avctl.schema import Synthetic

SCHEME = "synthetic://"  # how the ledger names what this process serves at a port of the moment


class Studio:
    """Renders clips into `folder`/<world>/<index>.mp4 with a number of processes. Use as a context."""

    def __init__(self, folder: Path, workers: int, is_settled: Callable[[str], bool]):
        """`is_settled` tells which URLs are done with and need no rendering."""
        self.folder, self.workers, self.is_settled = folder, workers, is_settled
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def items(self, spec: Synthetic) -> Iterator[Item]:
        """The clips of `spec` in order, each once it is rendered. A settled clip comes without its sidecar."""
        world = world_key(spec)
        waiting: deque[tuple[str, Future[Sidecar] | None]] = deque()
        for index in range(spec.first, spec.first + spec.count):
            url = f"{SCHEME}{world}/{index:06d}.mp4"
            waiting.append((url, None if self.is_settled(url) else self._submit(index, spec, world)))
            if len(waiting) > 4 * self.workers:
                yield _item(*waiting.popleft())
        yield from (_item(*entry) for entry in waiting)

    def _submit(self, index: int, spec: Synthetic, world: str) -> Future[Sidecar]:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # a fork would copy our threads' locks
            self._pool = ProcessPoolExecutor(self.workers, context, initializer=end_with_parent)
        with deaf_children():
            return self._pool.submit(render_clip, index, spec, self.folder / world)


def world_key(spec: Synthetic) -> str:
    """Twelve hex digits over what a clip looks and sounds like: ranges of one world share their clips' URLs."""
    world = spec.model_dump(exclude={"count", "first"})
    return hashlib.sha256(json.dumps(world, sort_keys=True).encode()).hexdigest()[:12]


def _item(url: str, rendered: Future[Sidecar] | None) -> Item:
    if rendered is None:
        return Item(url, "", "synthetic")
    try:
        caption, split, truth = rendered.result()
    except BrokenProcessPool as error:
        hint = "it may have run out of memory: use fewer `workers` in `runtime`"
        raise StageError("a process that rendered synthetic clips was killed", hint) from error
    return Item(url, "", "synthetic", caption=caption, split=split, truth=truth)
