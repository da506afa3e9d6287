"""How to run, never what to compute: the section left out of every fingerprint."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from avctl.recipe.spec import Spec


class Runtime(Spec):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int | None = Field(default=None, ge=1)  # processes of crawl and preprocess, None: one a core
    threads: int | None = Field(default=None, ge=1)  # of torch, None: one a core; another number may round differently
    log_every: int = Field(default=25, gt=0)  # steps

    @property
    def num_workers(self) -> int:
        return self.workers or cores()

    @property
    def num_threads(self) -> int:
        return self.threads or cores()


def cores() -> int:
    """Those that this process may use: under Slurm, its allocation."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
