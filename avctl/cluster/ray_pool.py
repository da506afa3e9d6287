"""A pool whose workers are actors of a Ray cluster: what avctl sees of it."""

from __future__ import annotations

import importlib.util
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event
from typing import Any

from avctl.cluster.encoding import Encode, Prepared, encoded_here
from avctl.cluster.ray_driver import Order, Result, drive
from avctl.curate.pool import PAUSE_S, Progress, Report, Steps, supervised
from avctl.curate.prepare import Outcome
from avctl.curate.shards import Shard
from avctl.curate.worker import Budget, Work
from avctl.errors import MachineError
from avctl.job import deaf_children
from avctl.schema import Decode, Ray

_JOIN_S = 60.0  # to become part of the cluster
_LEAVE_S = 10.0  # to end the actors
_spawn = multiprocessing.get_context("spawn")


class RayPool:
    """Actors of a Ray cluster, each with a killable child. A finished shard went through `encode`: on the GPUs of the
    cluster if it has some and `gpus` may be used, else in the caller's thread.

    Every machine must see `folders`, and mean the same by `decode`. What Ray itself says goes to the file `log`.
    """

    def __init__(
        self,
        ray: Ray,
        work: Work[Shard, Outcome],
        budget: Budget,
        encode: Encode | None,
        *,
        gpus: bool,
        decode: Decode,
        folders: Sequence[Path],
        log: Path,
    ):
        if importlib.util.find_spec("ray") is None:
            raise MachineError("`runtime.pool` is a Ray cluster, and Ray is not installed", "pip install 'avctl[ray]'")
        self.num_workers = 0
        self._encode, self._log = encode, log
        self._encodes_there = False
        there = encode if gpus else None
        self._order = Order(ray.address, ray.workers, (), work, budget, decode, tuple(folders), there)

    @contextmanager
    def run(self, shards: Sequence[Shard]) -> Iterator[Steps[Shard, Outcome]]:
        order = replace(self._order, shards=tuple(shards))

        def supervise(report: Report[Shard, Outcome], stop: Event) -> None:
            self._supervise(order, report, stop)

        with supervised(supervise) as steps:
            yield encoded_here(steps, self._encode_here)

    def _encode_here(self, prepared: Prepared) -> None:
        if self._encode and not self._encodes_there:
            self._encode(prepared)

    def _supervise(self, order: Order, report: Report[Shard, Outcome], stop: Event) -> None:
        if not order.shards:
            return
        connection, theirs = _spawn.Pipe()
        driver = _spawn.Process(target=drive, args=(theirs, order, self._log), daemon=True)
        with deaf_children():
            driver.start()
        theirs.close()
        try:
            self._listen(connection, order, report, stop)
        finally:
            connection.close()  # the driver leaves
            driver.join(_LEAVE_S)
            driver.kill()
            driver.join()

    def _listen(self, connection: Connection, order: Order, report: Report[Shard, Outcome], stop: Event) -> None:
        running = {shard.number: Progress[Shard, Outcome](shard, ()) for shard in order.shards}
        start, has_joined = time.monotonic(), False
        while running and not stop.is_set():
            if not connection.poll(PAUSE_S):
                if not has_joined and time.monotonic() - start > _JOIN_S:
                    raise MachineError(f"the Ray cluster at `{order.address}` does not answer", f"see `{self._log}`")
                continue
            kind, value = self._receive(connection, order)
            match kind:
                case "joined":
                    has_joined, self._encodes_there = True, value
                case "workers":
                    self.num_workers = value
                case "result":
                    running[value.number] = step = _next(running[value.number], value)
                    report(step)
                case "finished":
                    report(replace(running.pop(value), is_finished=True))
                case "failed":
                    raise value

    def _receive(self, connection: Connection, order: Order) -> tuple[str, Any]:
        try:
            return connection.recv()
        except (EOFError, ConnectionResetError) as error:
            hint = f"the same command goes on once it is there again; what Ray said is in `{self._log}`"
            raise MachineError(f"the Ray cluster at `{order.address}` was lost", hint) from error


def _next(step: Progress[Shard, Outcome], result: Result) -> Progress[Shard, Outcome]:
    """One result further; of another attempt, it is the first one."""
    if result.attempt == step.shard.attempt:
        return replace(step, results=(*step.results, result.value))
    return Progress(replace(step.shard, attempt=result.attempt), (result.value,))
