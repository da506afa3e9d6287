"""How the driver ends where there is no cluster to join; with one, it is tested through `RayPool`."""

from __future__ import annotations

import math
import multiprocessing
import socket
from pathlib import Path

import pytest

from avctl.cluster.ray_driver import Order, drive, gpu_shares
from avctl.curate.shards import PrepareShard
from avctl.curate.worker import Budget
from avctl.schema import Clip, Decode, Preprocess

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
