"""What each metric measures on the clips of a set, clip by clip, and on the same clips with wrong sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from avctl.media.synthetic.world import COLOURS, FAMILIES, SHAPES
from avctl.metrics.av_align import av_align, excess
from avctl.metrics.events import Events, counts, errors
from avctl.metrics.floors import all_floors
from avctl.metrics.statistics import (
    Statistic,
    f1,
    mean,
    median_size,
    p95_size,
    precision,
    ratio_to_other,
    recall,
    signed_median,
)
from avctl.metrics.watch import ATTRIBUTES, Watched

TOLERANCES_S = (0.05, 0.0625, 0.3)  # of F1, beside the recipe's own; 1/16 s is a frame of the tiny recipe
NUM_VALUES = {"colour": len(COLOURS), "shape": len(SHAPES), "family": len(FAMILIES), "pitch": len(COLOURS)}
GIVEN = {"audio_to_video": {"pitch"}, "video_to_audio": {"colour", "shape", "family"}}  # by task: nothing to adhere to

Values = Sequence[np.ndarray]  # a clip each; empty where the metric is not applicable


@dataclass(frozen=True)
class Measure:
    """A statistic and what it is of. `wrong` holds, by the name of the floor, what wrong sound or truth would give."""

    name: str
    unit: str
    higher_is_better: bool | None  # None: neither; a sign, or a count
    statistic: Statistic
    values: Values
    wrong: Mapping[str, Values] = field(default_factory=dict)
    chance: float | None = None
    tolerance_s: float | None = None


def adherence(clips: Sequence[Watched], task: str) -> list[Measure]:
    """Share of clips whose attribute is as the truth has it: those attributes that the task was not given."""
    known = [clip for clip in clips if clip.truth]

    def right(clip: Watched, name: str, truth: Watched) -> float:
        return 100.0 * replace(clip, truth=truth.truth).is_right(name)

    measures = []
    for name in ATTRIBUTES if known else ():
        if name not in GIVEN.get(task, ()):
            values = [np.array([right(clip, name, clip)]) if clip.truth else np.empty(0) for clip in clips]
            shuffled = [np.array([right(clip, name, other) for other in known]) for clip in known]
            wrong = {"truth of other clips": shuffled}
            measures.append(Measure(name, "%", True, mean, values, wrong, chance=100 / NUM_VALUES[name]))
    return measures


def event_error(clips: Sequence[Watched], seed: int) -> list[Measure]:
    """Distances between events seen and heard, both ways: median, 95th percentile, sign, and ratio to chance."""
    events = [clip.events for clip in clips]
    floors = all_floors(events, seed)
    own = [1_000 * errors(clip) for clip in events]
    # A sound that is not there is neither early nor late.
    is_pair = [len(clip.seen_s) > 0 and len(clip.heard_s) > 0 for clip in events]
    signed = [values if has_both else np.empty(0) for values, has_both in zip(own, is_pair, strict=True)]
    wrong = {name: _each(group, lambda clip: 1_000 * errors(clip)) for name, group in floors.items()}
    measures = [
        Measure("event error, median", "ms", False, median_size, own, wrong),
        Measure("event error, 95th percentile", "ms", False, p95_size, own, wrong),
        Measure("event error, signed median", "ms", None, signed_median, signed),
        Measure("events seen a clip", "", None, mean, [np.array([len(clip.seen_s)]) for clip in events]),
        Measure("events heard a clip", "", None, mean, [np.array([len(clip.heard_s)]) for clip in events]),
    ]
    if other := wrong.get("sound of other clips"):
        tables = {name: _beside(values, other) for name, values in wrong.items()}
        ratio = Measure("event error / chance", "", False, ratio_to_other, _beside(own, other), tables, chance=1.0)
        measures.insert(0, ratio)
    return measures


def onset_agreement(clips: Sequence[Watched], tolerance_s: float, seed: int) -> list[Measure]:
    """Precision (heard that are seen), recall (seen that are heard) and F1 of the largest one-to-one matching."""
    events = [clip.events for clip in clips]
    floors = all_floors(events, seed)

    def measure(name: str, statistic: Statistic, t: float) -> Measure:
        def table(clip: Events) -> np.ndarray:
            return np.array([counts(clip, t)])

        wrong = {floor: _each(group, table) for floor, group in floors.items()}
        title = f"onset {name} within {1_000 * t:g} ms"
        return Measure(title, "", True, statistic, [table(clip) for clip in events], wrong, tolerance_s=t)

    others = [t for t in TOLERANCES_S if t != tolerance_s]
    named = [("F1", f1), ("precision", precision), ("recall", recall)]
    return [measure(*pair, tolerance_s) for pair in named] + [measure("F1", f1, t) for t in others]


def alignment(clips: Sequence[Watched], fps: int, seed: int) -> list[Measure]:
    """AV-Align: onsets against peaks of motion, without a reader or a truth."""
    events = [Events(clip.peaks_s, clip.heard.events_s, clip.seconds) for clip in clips]

    def plain(clip: Events) -> np.ndarray:
        return _known(av_align(clip.heard_s, clip.seen_s, fps))

    def beyond(clip: Events) -> np.ndarray:
        return _known(excess(clip.heard_s, clip.seen_s, fps, clip.seconds))

    wrong = {name: _each(group, plain) for name, group in all_floors(events, seed).items()}
    failed = np.zeros(1)  # a clip that cannot be decoded agrees in nothing
    both = [
        [failed if clip.is_failed else values(event) for clip, event in zip(clips, events, strict=True)]
        for values in (plain, beyond)
    ]
    return [
        Measure("AV-Align", "", True, mean, both[0], wrong, tolerance_s=1 / fps),
        Measure("AV-Align beyond chance", "", True, mean, both[1], chance=0.0, tolerance_s=1 / fps),
    ]


def _each(group: list[list[Events]], measure: Callable[[Events], np.ndarray]) -> list[np.ndarray]:
    """What is measured with all the wrong sounds of a clip, clip by clip."""
    return [np.concatenate([measure(wrong) for wrong in each]) for each in group]


def _beside(own: Values, other: Values) -> list[np.ndarray]:
    """Tables of (distance, 0) for a clip's own sound and (distance, 1) for that of other clips."""
    return [
        np.stack([np.concatenate([a, b]), np.repeat([0.0, 1.0], [len(a), len(b)])], axis=1)
        for a, b in zip(own, other, strict=True)
    ]


def _known(value: float | None) -> np.ndarray:
    return np.empty(0) if value is None else np.array([value])
