"""PySceneDetect's content detector: hard cuts by the mean HSV difference of neighbouring frames.

Its filter for short scenes is off: a shot that hides a cut would put that cut into a clip.
"""

from __future__ import annotations

import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector

from avctl.schema import Content

WIDTH = 256  # pixels; PySceneDetect's own choice, for which its thresholds were made


class ContentCuts:
    """A `CutDetector`."""

    def __init__(self, spec: Content):
        self._detector = ContentDetector(threshold=spec.threshold, min_scene_len=0)
        self._clock = FrameTimecode(0, fps=25.0)  # the detector only hands it back
        self._num_frames = 0
        self._cuts: list[int] = []

    def size(self, height: int, width: int) -> tuple[int, int]:
        scale = min(1.0, WIDTH / width)
        return max(1, round(height * scale)), round(width * scale)

    def add(self, frame: np.ndarray) -> None:
        if self._detector.process_frame(self._clock, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)):
            self._cuts.append(self._num_frames)
        self._num_frames += 1

    def changes(self) -> np.ndarray:
        return np.repeat(np.array(self._cuts, int)[:, None], 2, axis=1)
