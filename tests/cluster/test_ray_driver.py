"""How the driver ends where there is no cluster to join, and what it keeps; all else is tested through `RayPool`."""

from __future__ import annotations

import gc
import math
import multiprocessing
import socket
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from avctl.cluster.ray_driver import Order, _feed, _join, _leave, drive, gpu_shares
from avctl.curate.prepare import Outcome, Source
from avctl.curate.shards import PrepareShard, Shard
from avctl.curate.worker import Budget
from avctl.schema import Clip, Decode, Preprocess

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

CLIP = Clip(seconds=1.0, size=(16, 16), fps=8, sample_rate=8_000)


def test_the_driver_sends_what_failed_and_ends(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        work = PrepareShard(tmp_path, Preprocess(), CLIP)
        order = Order(address, None, (), work, Budget(1.0, 1, 1), Decode(), (), None)
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=drive, args=(theirs, order, tmp_path / "log"))
        process.start()
        theirs.close()
        kind, error = ours.recv()
    process.join()
    assert kind == "failed" and address in error.message and "ray start" in error.hint
    assert process.exitcode == 0


def test_results_of_a_finished_shard_are_kept_by_nobody(
    ray_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # so that a spawned worker finds `accept`
    shards = tuple(Shard(n, tuple(Source(str(i), Path(), "x", None, None, None) for i in range(2))) for n in range(2))
    address = ray_cluster.address
    assert address
    order = Order(address, 1, shards, accept, Budget(60.0, 300, 1), Decode(), (tmp_path,), None)
    _join(address)
    try:
        results: list[weakref.ref[Outcome]] = []
        for kind, value in filter(None, _feed(order, num_workers=1, num_gpus=0)):
            if kind == "result":
                results.append(weakref.ref(value.value))
            if kind == "finished":
                gc.collect()
                assert not any(result() for result in results)
    finally:
        _leave()
    assert len(results) == 4


def accept(shard: Shard, done: list) -> Generator[Outcome, None, None]:
    for _ in shard[len(done) :]:
        yield Outcome()


def test_workers_share_the_gpus_only_where_these_decode_and_leave_room_for_encoders():
    assert gpu_shares(decodes=False, encodes=False, num_workers=16, num_gpus=2) == (0, 0)
    assert gpu_shares(decodes=False, encodes=True, num_workers=16, num_gpus=2) == (0, 1)
    assert gpu_shares(decodes=False, encodes=True, num_workers=16, num_gpus=0) == (0, 0)
    assert gpu_shares(decodes=True, encodes=False, num_workers=16, num_gpus=2) == (0.125, 0)
    assert gpu_shares(decodes=True, encodes=True, num_workers=16, num_gpus=2) == (0.0937, 0.25)
    assert gpu_shares(decodes=True, encodes=True, num_workers=1, num_gpus=2) == (0.75, 0.25)
    assert gpu_shares(decodes=True, encodes=True, num_workers=4, num_gpus=0) == (0, 0)


@pytest.mark.parametrize("encodes", [False, True])
def test_all_workers_find_room_on_the_gpus(encodes: bool):
    for num_gpus in range(1, 9):
        for num_workers in range(1, 30):
            worker, encoder = gpu_shares(True, encodes, num_workers, num_gpus)
            assert num_gpus * math.floor((1 - encoder) / worker) >= num_workers
