"""A real Ray cluster on this machine: shards are shared out, poison is contained, and lost machines cost nothing."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from avctl.cluster.encoding import Prepared
from avctl.cluster.ray_pool import RayPool
from avctl.curate.pool import LocalPool
from avctl.curate.prepare import Outcome, Source
from avctl.curate.shards import Shard
from avctl.curate.worker import Budget, Fault
from avctl.job import MachineError
from avctl.schema import Decode, Ray

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

NODE_BYTES = 100 * 2**20
BUDGET = Budget(seconds=3.0, memory_mb=300, output_mb=1)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spawned workers find this module by its name, however pytest was started."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


@dataclass(frozen=True)
class Digest:
    """Writes the names of its items to `folder`, one file a shard; some names are what it does."""

    folder: Path

    def __call__(self, shard: Shard, done: list[Outcome | Fault]) -> Generator[Outcome, None, None]:
        for source in shard[len(done) :]:
            match source.name:
                case "hang":
                    ctypes.PyDLL(None).sleep(60)
                case "crash":
                    os.abort()
                case "raise":
                    raise KeyError("x")
                case "full":
                    raise OSError(28, "No space left on device")
                case "wait" if not (self.folder / "go").exists():
                    (self.folder / f"waiting-{shard.draft}-{os.getpid()}").touch()
                    while not (self.folder / "go").exists():
                        time.sleep(0.05)
            with (self.folder / shard.draft).open("a") as file:
                file.write(source.name)
            yield Outcome(detail=source.name.upper())


def shards(*names: str) -> list[Shard]:
    """One a text, with an item a word."""
    return [
        Shard(number, tuple(Source(word, Path(word), word, None, None, None) for word in text.split()))
        for number, text in enumerate(names)
    ]


def pool(cluster: Cluster | str, folder: Path, **settings) -> RayPool:
    address = cluster if isinstance(cluster, str) else cluster.address
    assert address
    given: dict[str, Any] = {"gpus": True, "decode": Decode(), "folders": (folder,), "log": folder / "ray.log"}
    given |= {"budget": BUDGET, "encode": None, **settings}
    return RayPool(Ray(address=address), Digest(folder), **given)


def finished(pool: RayPool | LocalPool, todo: list[Shard]) -> dict[str, list[str]]:
    """Results of every shard by its folder; a fault is named by its reason."""
    with pool.run(todo) as steps:
        done = [step for step in steps if step and step.is_finished]
    assert sorted(step.shard.number for step in done) == [shard.number for shard in todo]
    return {step.shard.draft: [result.reason or result.detail for result in step.results] for step in done}


def test_a_cluster_does_what_one_machine_does_and_says_nothing(
    ray_cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    todo = shards("a b", "c crash d", "hang e", "raise", "f")
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    assert finished(pool(ray_cluster, there), todo) == finished(LocalPool(Digest(here), 2, BUDGET), todo)
    for shard in todo:
        if (here / shard.draft).exists():
            assert (there / shard.draft).read_text() == (here / shard.draft).read_text()
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_is_the_same_error_as_on_one_machine(ray_cluster: Cluster, tmp_path: Path) -> None:
    with pool(ray_cluster, tmp_path).run(shards("a full")) as steps, pytest.raises(OSError, match="No space left"):
        list(steps)


def test_a_machine_that_does_not_see_the_store_is_named(ray_cluster: Cluster, tmp_path: Path) -> None:
    unseen = pool(ray_cluster, tmp_path, folders=(tmp_path / "elsewhere",))
    with unseen.run(shards("a")) as steps, pytest.raises(MachineError, match=r"does not see `.*elsewhere`") as caught:
        list(steps)
    assert "shared file system" in (caught.value.hint or "")


def test_an_address_where_nothing_answers_is_an_error_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        nobody = pool(address, tmp_path)
        with nobody.run(shards("a")) as steps, pytest.raises(MachineError, match=rf"no Ray cluster .*{address}"):
            list(steps)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineError, match="not installed") as caught:
        pool("127.0.0.1:1", tmp_path)
    assert caught.value.hint == "pip install 'avctl[ray]'"


def test_leaving_early_ends_the_children_of_the_actors(ray_cluster: Cluster, tmp_path: Path) -> None:
    with pool(ray_cluster, tmp_path).run(shards("wait", "wait")) as steps:
        while len(waiting(tmp_path)) < 2:
            next(steps)
    until(lambda: not any(is_alive(path) for path in waiting(tmp_path)))


@pytest.mark.slow
def test_a_machine_killed_in_the_middle_loses_nothing(
    ray_cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    node = ray_cluster.add_node(num_cpus=2, object_store_memory=NODE_BYTES)
    todo = shards(*(f"a{number} wait b{number}" for number in range(6)))
    patient = replace(BUDGET, seconds=120.0)  # the items wait for the machine to be gone
    with pool(ray_cluster, tmp_path, budget=patient).run(todo) as steps:
        while len(waiting(tmp_path)) < 4:
            next(steps)
        ray_cluster.remove_node(node, allow_graceful=False)
        until(lambda: sum(is_alive(path) for path in waiting(tmp_path)) == 2)
        (tmp_path / "go").touch()
        done = [step for step in steps if step and step.is_finished]
    assert sorted(step.shard.number for step in done) == list(range(6))
    assert sorted(step.shard.attempt for step in done) == [0, 0, 0, 0, 1, 1]
    for step in done:
        names = [source.name for source in step.shard]
        assert [result.detail for result in step.results if isinstance(result, Outcome)] == [n.upper() for n in names]
        assert (tmp_path / step.shard.draft).read_text() == "".join(names)
    assert capfd.readouterr() == ("", "")


@dataclass(frozen=True)
class Sign:
    """Stands for an encoder: signs the file of a finished shard."""

    folder: Path

    def __call__(self, prepared: Prepared) -> None:
        with (self.folder / prepared.shard.draft).open("a") as file:
            file.write(f" {os.getpid()}")


@pytest.mark.slow
def test_finished_shards_go_to_the_gpus_of_the_cluster_where_it_has_some(ray_cluster: Cluster, tmp_path: Path) -> None:
    todo = shards("a", "b", "c")
    finished(pool(ray_cluster, tmp_path, encode=Sign(tmp_path)), todo)
    assert signers(tmp_path, todo) == {str(os.getpid())}
    node = ray_cluster.add_node(num_cpus=0, num_gpus=2, object_store_memory=NODE_BYTES)  # Ray takes our word for it
    there = tmp_path / "there"
    there.mkdir()
    finished(pool(ray_cluster, there, encode=Sign(there)), todo)
    assert str(os.getpid()) not in signers(there, todo)
    here = tmp_path / "here"
    here.mkdir()
    finished(pool(ray_cluster, here, encode=Sign(here), gpus=False), todo)
    assert signers(here, todo) == {str(os.getpid())}
    ray_cluster.remove_node(node)


def signers(folder: Path, todo: list[Shard]) -> set[str]:
    names, pids = zip(*((folder / shard.draft).read_text().split() for shard in todo), strict=True)
    assert names == ("a", "b", "c")
    return set(pids)


def waiting(folder: Path) -> list[Path]:
    return list(folder.glob("waiting-*"))


def is_alive(path: Path) -> bool:
    """Whether the process that waits still does."""
    return Path(f"/proc/{path.name.rpartition('-')[2]}").exists()


def until(holds, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        os.sched_yield()
