"""One clip, watched and listened to once: everything that the scores of a set are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from avctl.metrics.av_align import motion_peaks
from avctl.metrics.events import Events
from avctl.metrics.heard import Heard, hear
from avctl.metrics.seen import Seen, see

ATTRIBUTES = ("colour", "shape", "family", "pitch")
NOTHING_SEEN = Seen(None, None, None, np.empty(0))
NOTHING_HEARD = Heard(None, None, None, None, np.empty(0))


@dataclass(frozen=True)
class Footage:
    """Frames (T, H, W, 3) uint8 and audio (samples, channels) float32 in [-1, 1] of one clip."""

    frames: np.ndarray
    audio: np.ndarray


@dataclass(frozen=True)
class Watched:
    """`truth` is that of a clip of the small world, else None: then what is seen are peaks of motion."""

    truth: Mapping[str, Any] | None
    seen: Seen
    heard: Heard
    peaks_s: np.ndarray  # of motion
    seconds: float
    is_failed: bool = False  # it could not be decoded

    @property
    def events(self) -> Events:
        seen_s = self.seen.events_s if self.truth else self.peaks_s
        return Events(seen_s, self.heard.events_s, self.seconds, len(self.truth["events_s"]) if self.truth else 1)

    def is_right(self, attribute: str) -> bool:
        """Whether colour, shape or family are seen, or the pitch is heard, as the truth has them."""
        assert self.truth is not None
        if attribute == "pitch":  # the pitch of a colour
            return self.heard.colour == self.truth["colour"]
        return getattr(self.seen, attribute) == self.truth[attribute]


def world_truth(truth: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The truth if it is one of the small world: a manifest may give any other."""
    return truth if truth and {*ATTRIBUTES[:3], "events_s"} <= truth.keys() else None


def watch(clip: Footage, fps: int, sample_rate: int, truth: Mapping[str, Any] | None) -> Watched:
    """What `truth` says is read only where it is of the small world."""
    truth = world_truth(truth)
    return Watched(
        truth=truth,
        seen=see(clip.frames, fps) if truth else NOTHING_SEEN,
        heard=hear(clip.audio, sample_rate),
        peaks_s=motion_peaks(clip.frames, fps),
        seconds=len(clip.frames) / fps,
    )


def unwatchable(seconds: float, truth: Mapping[str, Any] | None) -> Watched:
    """A clip that cannot be decoded: nothing is seen or heard, and that is wrong."""
    return Watched(world_truth(truth), NOTHING_SEEN, NOTHING_HEARD, np.empty(0), seconds, is_failed=True)
