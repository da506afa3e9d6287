"""What is measured on generated clips."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from avctl.recipe.spec import Spec

Metric = Literal["av_align", "onsets", "event_error", "adherence", "reconstruction"]


class Eval(Spec):
    metrics: tuple[Metric, ...] = ("av_align", "onsets", "event_error", "adherence", "reconstruction")
    tolerance_s: float = Field(default=0.1, gt=0)  # of an onset match
    resamples: int = Field(default=1_000, gt=0)  # of the bootstrap
    examples: int = Field(default=12, ge=0)  # clips of each set shown in the report
