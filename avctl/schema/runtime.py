"""How to run, never what to compute: the section left out of every fingerprint."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from avctl.recipe.spec import Spec


class Runtime(Spec):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int | None = Field(default=None, ge=1)  # processes of crawl and preprocess; None: one a core
    threads: int | None = Field(default=None, ge=1)  # of torch; None: one a core
    log_every: int = Field(default=25, gt=0)  # steps
