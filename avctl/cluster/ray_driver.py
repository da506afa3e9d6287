"""The Ray side of a `RayPool`: a process that joins the cluster and feeds its actors, one shard a task.

It stands alone because Ray writes to standard output, takes signals, and waits for minutes for a cluster that does not
answer. It ends with its parent, and its actors end with it.
"""

from __future__ import annotations

import logging
import math
import os
import socket
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, TypeVar

from avctl.cluster.encoding import Encode, Prepared
from avctl.cluster.ray_actors import Encoding, Preparing, require_alike
from avctl.curate.pool import PAUSE_S
from avctl.curate.prepare import Outcome
from avctl.curate.shards import Shard
from avctl.curate.worker import Budget, Fault, Work, end_with_parent
from avctl.errors import Failure, MachineError, StageError
from avctl.media.engines import build
from avctl.schema import Decode

_PATIENCE_S = 5.0  # for a connection
_MOST_LOSSES = 5  # of the machines of one shard, or of actors before the first is ready: more is no accident


@dataclass(frozen=True)
class Order:
    """What a cluster is asked to do. It travels by pickle."""

    address: str  # of the cluster's head
    num_workers: int | None  # None: one a CPU
    shards: tuple[Shard, ...]
    work: Work[Shard, Outcome]
    budget: Budget
    decode: Decode
    folders: tuple[Path, ...]  # that every machine must see
    encode: Encode | None  # for the GPUs of the cluster, if it has some


@dataclass(frozen=True)
class Result:
    """The next one of a shard."""

    number: int
    attempt: int
    value: Outcome | Fault


def drive(connection: Connection, order: Order, log: Path) -> None:
    """The life of the process. It sends what happens as (kind, value), and ends when something is sent to it."""
    end_with_parent()
    _redirect(log)
    try:
        num_cpus, num_gpus = _join(order.address)
        connection.send(("joined", order.encode is not None and num_gpus > 0))
        for event in _feed(order, order.num_workers or num_cpus, num_gpus):
            if event:
                connection.send(event)
            if connection.poll():
                break
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        connection.send(("failed", error))
    finally:
        _leave()


def _redirect(log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _join(address: str) -> tuple[int, int]:
    """Connect to the cluster: its CPUs and GPUs. MachineError where that fails."""
    import ray

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S).close()
    except OSError as error:
        hint = "start one there with `ray start --head`, or name another: `-o runtime.pool.address=HOST:PORT`"
        raise MachineError(f"no Ray cluster answers at `{address}`: {error}", hint) from error
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        hint = f"this machine must be one of the cluster: `ray start --address={address}`"
        raise MachineError(f"the Ray cluster at `{address}` cannot be joined: {why}", hint) from error
    resources = ray.cluster_resources()
    if resources.get("CPU", 0) < 1:
        raise MachineError(f"the Ray cluster at `{address}` has no CPU to work on", "ray start --num-cpus=N")
    return int(resources["CPU"]), int(resources.get("GPU", 0))


def _leave() -> None:
    """Actors end with their driver's connection."""
    import ray

    ray.shutdown()


Event = tuple[str, Any]


def _feed(order: Order, num_workers: int, num_gpus: int) -> Iterator[Event | None]:
    """What happens until every shard is finished; None now and then."""
    import ray

    size = min(num_workers, len(order.shards))
    decodes = build(order.decode.engine).is_on_gpu
    decoders, encoders = gpu_shares(decodes, order.encode is not None, size, num_gpus)
    num_encoders = min(num_gpus, size) if encoders else 0
    preparing = _Crew[Shard](Preparing, (order.work, order.budget), size, order, num_cpus=1, num_gpus=decoders)
    encoding = _Crew[Prepared](Encoding, (order.encode,), num_encoders, order, num_cpus=0, num_gpus=encoders)
    preparing.todo.extend(order.shards)
    results: defaultdict[tuple[int, int], list[Outcome | Fault]] = defaultdict(list)  # by shard and attempt
    while preparing.is_busy or encoding.is_busy:
        refs = [*preparing.refs(), *encoding.refs()]
        ray.wait(refs, num_returns=1, timeout=PAUSE_S, fetch_local=False)
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        yield None
        for ref in ready:
            if ref in preparing.busy or ref in preparing.starting:
                for shard, result in preparing.take(ref, lambda shard: replace(shard, attempt=shard.attempt + 1)):
                    attempt = shard.number, shard.attempt
                    if result is not _END:
                        results[attempt].append(result)
                        yield "result", Result(*attempt, result)
                        continue
                    prepared = Prepared.of(shard, results.pop(attempt))
                    if num_encoders:
                        encoding.todo.append(prepared)
                    else:
                        yield "finished", shard.number
                yield "workers", preparing.num_ready
            else:
                for prepared, _ in encoding.take(ref, lambda prepared: prepared):
                    yield "finished", prepared.number


def gpu_shares(decodes: bool, encodes: bool, num_workers: int, num_gpus: int) -> tuple[float, float]:
    """How much of a GPU each worker and each encoder takes. No share lies on two GPUs: of three workers on two, each
    takes a half. Where both do, an encoder takes a quarter."""
    if not num_gpus:
        return 0.0, 0.0
    encoder = 0.0 if not encodes else 0.25 if decodes else 1.0
    worker = (1 - encoder) / math.ceil(num_workers / num_gpus) if decodes else 0.0
    return math.floor(worker * 10_000) / 10_000, encoder  # Ray's unit


_END = object()


S = TypeVar("S", Shard, Prepared)


class _Crew(Generic[S]):
    """Actors of one kind. Each gets a shard when it is ready; one that is lost is replaced, and its shard goes to
    another."""

    def __init__(self, kind: type, arguments: tuple, size: int, order: Order, **needs: float):
        import ray

        self._make = ray.remote(kind).options(**needs, scheduling_strategy="SPREAD").remote
        self._arguments, self._order = arguments, order
        self.todo: deque[S] = deque()
        self.starting: dict[Any, Any] = {}  # reference -> actor
        self.busy: dict[Any, tuple[Any, S]] = {}
        self._idle: list[Any] = []
        self._losses: Counter[int] = Counter()  # by shard; of actors that were never ready under -1
        for _ in range(size):
            self._start()

    @property
    def num_ready(self) -> int:
        return len(self.busy) + len(self._idle)

    @property
    def is_busy(self) -> bool:
        return bool(self.todo or self.busy)

    def refs(self) -> list[Any]:
        """What to wait for, after every idle actor got a shard."""
        while self.todo and self._idle:
            actor, shard = self._idle.pop(), self.todo.popleft()
            self.busy[actor.work.options(num_returns="streaming").remote(shard)] = actor, shard
        return [*self.busy, *self.starting]

    def take(self, ref: Any, again: Callable[[S], S]) -> Iterator[tuple[S, Any]]:
        """What came of a reference that is ready: results of a shard, at last `_END`."""
        from ray.exceptions import RayError, RayTaskError

        try:
            if ref in self.starting:
                self._greet(ref)
            else:
                yield self._hear(ref)
        except RayTaskError as error:
            raise _cause(error) from error
        except RayError as error:
            self._replace(ref, again, error)

    def _start(self) -> None:
        actor = self._make(*self._arguments)
        self.starting[actor.hello.remote(self._order.folders, self._order.decode)] = actor

    def _greet(self, ref: Any) -> None:
        import ray

        require_alike(ray.get(ref), self._order.decode)
        self._idle.append(self.starting.pop(ref))
        self._losses[-1] = 0

    def _hear(self, generator: Any) -> tuple[S, Any]:
        import ray

        actor, shard = self.busy[generator]
        try:
            return shard, ray.get(next(generator))
        except StopIteration:
            del self.busy[generator]
            self._idle.append(actor)
            return shard, _END

    def _replace(self, ref: Any, again: Callable[[S], S], error: Exception) -> None:
        import ray

        number = -1
        if ref in self.starting:
            actor = self.starting.pop(ref)
        else:
            actor, shard = self.busy.pop(ref)
            number = shard.number
            self.todo.appendleft(again(shard))
        ray.kill(actor)  # it may only be out of reach
        self._losses[number] += 1
        if self._losses[number] >= _MOST_LOSSES:
            what = "an actor cannot start" if number < 0 else f"shard {number} lost its machine {_MOST_LOSSES} times"
            raise MachineError(f"{what}: {str(error).strip().splitlines()[-1]}", "is avctl installed on every machine?")
        self._start()


def _cause(error: Any) -> Exception:
    cause = error.cause
    if isinstance(cause, Failure | OSError):
        return cause
    return StageError(f"an actor failed: {type(cause).__name__}: {cause}")
