"""What one pass over a whole file measures."""

from __future__ import annotations

from dataclasses import dataclass, field

import av
import numpy as np

from avctl.media.audio import Sound


@dataclass
class Scan:
    """Times in seconds on the presentation clock."""

    times: list[float] = field(default_factory=list)  # of every frame
    audio_start_s: float = 0.0
    audio_end_s: float = 0.0  # of what decodes; a declared end, where there is one, is nearer the truth
    num_audio_frames: int = 0
    gap_s: float = 0.0  # the longest time inside the sound track for which nothing decodes
    peak: float = 0.0  # of the whole sound track, full scale 1
    damaged: int = 0  # packets so far that do not decode, or decode to a picture that the decoder calls corrupt
    interlaced: bool = False
    rotation: int = 0  # degrees counterclockwise that make the picture upright
    sizes: set[tuple[int, int]] = field(default_factory=set)  # (height, width) of the frames: one, as a rule

    @property
    def interval_s(self) -> float:
        """The usual time from one frame to the next."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    @property
    def fps(self) -> float:
        """Mean frame rate."""
        span = self.times[-1] - self.times[0] if len(self.times) > 1 else 0.0
        return (len(self.times) - 1) / span if span > 0 else 0.0

    @property
    def is_variable(self) -> bool:
        """Whether some frame stays longer or shorter by more than a millisecond grid explains."""
        return len(self.times) > 1 and bool(np.abs(np.diff(self.times) - self.interval_s).max() > 0.0025)

    @property
    def has_sound(self) -> bool:
        return self.num_audio_frames > 0

    @property
    def video_start_s(self) -> float:
        return self.times[0]

    @property
    def video_end_s(self) -> float:
        return self.times[-1] + self.interval_s

    def note_picture(self, frame: av.VideoFrame) -> None:
        if not self.times:
            self.rotation = frame.rotation
        self.times.append(begin(frame))
        self.sizes.add((frame.height, frame.width))

    def forget_sound(self) -> None:
        """Go on as if the file had none."""
        self.num_audio_frames = 0

    def note_sound(self, piece: Sound) -> None:
        if self.num_audio_frames:
            self.gap_s = max(self.gap_s, piece.start_s - self.audio_end_s)
        else:
            self.audio_start_s = piece.start_s
        self.num_audio_frames += 1
        self.audio_end_s = max(self.audio_end_s, piece.end_s)
        self.peak = max(self.peak, float(piece.samples.max(initial=0)), -float(piece.samples.min(initial=0)))


def begin(frame: av.VideoFrame) -> float:
    """When the frame is shown, in seconds on the presentation clock."""
    assert frame.time is not None
    return frame.time
