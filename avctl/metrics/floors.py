"""What chance gets: the same pictures with sound that has nothing to do with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from avctl.metrics.events import Events

_OTHERS = 8  # clips whose sound each clip is given in turn


def other_clips(clips: Sequence[Events]) -> list[list[Events]]:
    """For every clip, itself with the sound of each of the next clips of the set. Empty for a single clip."""
    n = len(clips)
    shifts = range(1, min(_OTHERS, n - 1) + 1)
    return [[replace(clip, heard_s=clips[(i + k) % n].heard_s) for k in shifts] for i, clip in enumerate(clips)]


def rolled(clips: Sequence[Events]) -> list[list[Events]]:
    """The sound half of the clip later, its end at the start. (Weak where the rhythm is regular.)"""
    return [[replace(c, heard_s=np.sort((c.heard_s + c.seconds / 2) % c.seconds))] for c in clips]


def silent(clips: Sequence[Events]) -> list[list[Events]]:
    return [[replace(clip, heard_s=np.empty(0))] for clip in clips]


def random_onsets(clips: Sequence[Events], seed: int) -> list[list[Events]]:
    """As many onsets, anywhere in the clip."""
    rng = np.random.Generator(np.random.PCG64([seed, len(clips)]))
    return [[replace(c, heard_s=np.sort(rng.random(len(c.heard_s)) * c.seconds))] for c in clips]


def all_floors(clips: Sequence[Events], seed: int) -> dict[str, list[list[Events]]]:
    """Every floor by its name: clips, each with one or more wrong sounds."""
    floors = {"rolled by half": rolled(clips), "random onsets": random_onsets(clips, seed), "silence": silent(clips)}
    return {"sound of other clips": other_clips(clips), **floors} if len(clips) > 1 else floors
