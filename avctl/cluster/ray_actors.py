"""What runs on the machines of a Ray cluster: plain classes, made into actors where they are used."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from avctl.artifact.manifest import commit, versions
from avctl.cluster.encoding import Encode, Prepared
from avctl.curate.prepare import Outcome
from avctl.curate.shards import Shard
from avctl.curate.worker import Budget, Fault, Work, Worker
from avctl.errors import MachineError
from avctl.media.engines import build
from avctl.schema import Decode


@dataclass(frozen=True)
class Hello:
    """What a machine says of itself."""

    host: str
    missing: tuple[Path, ...]
    versions: dict[str, str]  # and the code of avctl, and what decodes there


class _Actor:
    def hello(self, folders: Sequence[Path], decode: Decode) -> Hello:
        missing = tuple(folder for folder in folders if not folder.is_dir())
        return Hello(platform.node(), missing, _versions(decode))


class Preparing(_Actor):
    """Prepares shards in a killable child."""

    def __init__(self, work: Work[Shard, Outcome], budget: Budget):
        self._worker = Worker(work, budget)

    def work(self, shard: Shard) -> Iterator[Outcome | Fault]:
        """The results of a shard, one an item."""
        self._worker.give(shard)
        for place in range(len(shard)):
            while len(self._worker.done) == place:
                self._worker.listen()
            yield self._worker.done[place]


class Encoding(_Actor):
    """Makes the latents of prepared shards, on a GPU that Ray gave to it."""

    def __init__(self, encode: Encode):
        self._encode = encode

    def work(self, prepared: Prepared) -> Iterator[Any]:
        """No results: the latents lie beside the clips."""
        self._encode(prepared)
        yield from ()


def _versions(decode: Decode) -> dict[str, str]:
    engine = build(decode.engine)
    return {**versions(), "avctl's code": _code(), engine.name: engine.version}


@cache
def _code() -> str:
    head, is_dirty = commit()
    return f"at commit {head or 'unknown'}" + " with local changes" * bool(is_dirty)


def require_alike(hello: Hello, decode: Decode) -> None:
    """MachineError where a machine does not see the store, or would make other bytes than this one."""
    if hello.missing:
        raise MachineError(
            f"`{hello.host}` does not see `{hello.missing[0]}`",
            hint="all machines of the cluster need the same store: `--store` on a shared file system",
        )
    for package, here in _versions(decode).items():
        there = hello.versions.get(package)
        if there != here:
            found = f"{package} {there}" if there else f"no {package}"
            raise MachineError(
                f"`{hello.host}` has {found}, and this machine {here}: their bytes could differ",
                hint="install the same versions on every machine of the cluster",
            )
