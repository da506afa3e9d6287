from __future__ import annotations

from pathlib import Path

from avctl.cluster.encoding import EncodingPool
from avctl.cluster.pools import pool_of
from avctl.cluster.ray_pool import RayPool
from avctl.curate.pool import LocalPool, Pool
from avctl.curate.prepare import Outcome
from avctl.curate.shards import PrepareShard, Shard
from avctl.curate.worker import Budget
from avctl.schema import Clip, Decode, Preprocess, Ray, Runtime


def chosen(runtime: Runtime, encode=None) -> Pool[Shard, Outcome]:
    work = PrepareShard(Path("scratch"), Preprocess(), Clip(seconds=1.0, size=(16, 16), fps=8, sample_rate=8_000))
    return pool_of(runtime, work, Budget(1.0, 1, 1), encode, decode=Decode(), folders=(), log=Path("log"))


def test_the_recipe_chooses_the_pool():
    local = chosen(Runtime(workers=3))
    assert isinstance(local, LocalPool) and local.max_workers == 3
    assert isinstance(chosen(Runtime(), encode=print), EncodingPool)
    assert isinstance(chosen(Runtime(pool=Ray(address="head:6379"))), RayPool)
