"""How to run, never what to compute: the section left out of every fingerprint."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from avctl.recipe.spec import Spec

Recompute = Literal["auto", "nothing", "cheap", "blocks"]
Attention = Literal[
    "auto", "flash3", "flash4", "cudnn", "flash_attn", "flash", "efficient", "flex",
    "sdpa", "sdpa_float32", "products", "reference",
]  # fmt: skip


class Ray(Spec):
    """A running Ray cluster: `ray start --head` on one machine, `ray start --address=...` on the others.

    All of its machines see the store, and have the same versions of avctl and of what it uses. The command itself is
    started on one of them.
    """

    kind: Literal["ray"] = "ray"
    address: str = Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\[\]:/\s]+):[0-9]+$")  # "host:port" of the head
    workers: int | None = Field(default=None, ge=1)  # each on a CPU of its own, None: as many as there are CPUs


class Runtime(Spec):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int | None = Field(default=None, ge=1)  # processes of crawl and preprocess, None: one a core
    threads: int | None = Field(default=None, ge=1)  # of torch, None: one a core; another number may round differently
    pool: Ray | None = None  # where files are prepared, None: in `workers` processes on this machine
    loaders: int = Field(default=0, ge=0)  # processes that load training batches, 0: a thread of the one that trains
    attention: Attention = "auto"  # who computes it; auto: by a rule, on a GPU the fastest deterministic one, measured
    recompute: Recompute = "auto"  # in backward, instead of keeping it; auto: what is cheap on a GPU, nothing on a CPU
    compile: bool | None = None  # the generator, by torch.compile; None: on a CPU, if it trains for 10,000 steps
    log_every: int = Field(default=25, gt=0)  # steps

    def on_cpu(self) -> Runtime:
        """The same without a GPU, and who computes attention there."""
        return self.model_copy(update={"device": "cpu", "attention": "auto"})

    @property
    def num_workers(self) -> int:
        return self.workers or cores()

    @property
    def num_threads(self) -> int:
        return self.threads or cores()


def cores() -> int:
    """Those that this process may use: under Slurm, its allocation."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
