"""From watched clips to scores: each measure with its interval, its floors, and the count of clips behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from avctl.metrics.measures import Measure, adherence, alignment, event_error, onset_agreement
from avctl.metrics.score import Record, Score
from avctl.metrics.statistics import interval, pooled
from avctl.metrics.watch import Watched
from avctl.schema import Eval


def score_clips(clips: Sequence[Watched], spec: Eval, record: Record) -> list[Score]:
    """Every metric of the recipe that watched clips give. `record` is that of all of them, but for its metric."""
    measures: list[Measure] = []
    if "adherence" in spec.metrics:
        measures += adherence(clips, record.task)
    if "event_error" in spec.metrics:
        measures += event_error(clips, record.seed)
    if "onsets" in spec.metrics:
        measures += onset_agreement(clips, spec.tolerance_s, record.seed)
    if "av_align" in spec.metrics:
        measures += alignment(clips, record.fps, record.seed)
    failed = [clip.is_failed for clip in clips]
    return [score(measure, failed, record) for measure in measures]


def score(measure: Measure, failed: Sequence[bool], record: Record) -> Score:
    """One measure as a score; `failed` says of each clip whether it could not be decoded."""
    used = [len(values) > 0 for values in measure.values]
    value = pooled(measure.statistic, measure.values, range(len(measure.values)))
    floors = {name: pooled(measure.statistic, values, range(len(values))) for name, values in measure.wrong.items()}
    return Score(
        name=measure.name,
        value=value if np.isfinite(value) else None,
        interval=interval(measure.statistic, measure.values, record.resamples, record.seed),
        unit=measure.unit,
        higher_is_better=measure.higher_is_better,
        used=sum(used),
        failed=sum(is_used and is_failed for is_used, is_failed in zip(used, failed, strict=True)),
        not_applicable=len(used) - sum(used),
        record=replace(record, metric=measure.name, tolerance_s=measure.tolerance_s),
        chance=measure.chance,
        floors={name: floor for name, floor in floors.items() if np.isfinite(floor)},
    )


def with_ceilings(scores: Sequence[Score], real: Sequence[Score], decoded: Sequence[Score]) -> list[Score]:
    """The same scores beside those of the real clips, and of real clips through the codecs and back."""
    ceilings, codec_ceilings = ({score.name: score.value for score in group} for group in (real, decoded))
    return [replace(s, ceiling=ceilings.get(s.name), codec_ceiling=codec_ceilings.get(s.name)) for s in scores]
