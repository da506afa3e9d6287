"""Where preprocess works: the pool that a recipe's `runtime` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avctl.cluster.encoding import Encode, EncodingPool
from avctl.cluster.ray_pool import RayPool
from avctl.curate.pool import LocalPool, Pool
from avctl.curate.prepare import Outcome
from avctl.curate.shards import Shard
from avctl.curate.worker import Budget, Work
from avctl.schema import Ray, Runtime


def pool_of(
    runtime: Runtime,
    work: Work[Shard, Outcome],
    budget: Budget,
    encode: Encode | None,
    *,
    folders: Sequence[Path],
    log: Path,
) -> Pool[Shard, Outcome]:
    """Workers that run `work` within `budget`; a finished shard went through `encode` if there is one.

    Each machine of a cluster must see `folders`; what the cluster says of itself goes to the file `log`.
    """
    match runtime.pool:
        case None:
            local = LocalPool(work, runtime.num_workers, budget)
            return EncodingPool(local, encode, lambda: _num_gpus(runtime)) if encode else local
        case Ray():
            may_use_gpus = runtime.device != "cpu"
            return RayPool(runtime.pool, work, budget, encode, gpus=may_use_gpus, folders=folders, log=log)


def _num_gpus(runtime: Runtime) -> int:
    """That this process may use."""
    import torch

    return 0 if runtime.device == "cpu" else torch.cuda.device_count()
