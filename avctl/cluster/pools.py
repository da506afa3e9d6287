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
from avctl.media.engines import build
from avctl.schema import Decode, Ray, Runtime


def pool_of(
    runtime: Runtime,
    work: Work[Shard, Outcome],
    budget: Budget,
    encode: Encode | None,
    *,
    decode: Decode,
    folders: Sequence[Path],
    log: Path,
) -> Pool[Shard, Outcome]:
    """Workers that run `work` within `budget`, on GPUs if `decode` means them; a finished shard went through `encode`.

    Each machine of a cluster must see `folders`; what the cluster says of itself goes to the file `log`.
    """
    match runtime.pool:
        case None:
            num_gpus = _num_gpus() if build(decode.engine).is_on_gpu else 0
            local = LocalPool(work, runtime.num_workers, budget, num_gpus)
            return EncodingPool(local, encode, _num_gpus if runtime.device != "cpu" else lambda: 0) if encode else local
        case Ray():
            gpus = runtime.device != "cpu"
            return RayPool(runtime.pool, work, budget, encode, gpus=gpus, decode=decode, folders=folders, log=log)


def _num_gpus() -> int:
    """That this process may use."""
    import torch

    return torch.cuda.device_count()
