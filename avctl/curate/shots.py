"""One pass over a source: where it cuts, and how sharp every frame is. Then: where clips begin.

Cuts are PySceneDetect's content detector (mean HSV difference of neighbouring frames), fed with the frames that are
decoded anyway. Its filter for short scenes is off: a shot that hides a cut would put that cut into a clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector

from avctl.media.fit import Luma, colorspace
from avctl.media.scan import begin
from avctl.schema import Shots

ANALYSIS_WIDTH = 256  # pixels; PySceneDetect's own choice, for which its thresholds were made
SHARPNESS_LINES = 360  # taller frames are reduced to this, so that one threshold fits 480p and 4K
_TOLERANCE_S = 1e-3  # by which a shot may be shorter than the clip: time stamps are rounded


@dataclass(frozen=True)
class Pictures:
    """What the pass saw, one value a frame."""

    times: np.ndarray  # (N,) seconds on the presentation clock
    sharpness: np.ndarray  # (N,) variance of the Laplacian of luma 0..255
    cuts: np.ndarray  # (C,) indices of frames that begin a new shot; the first frame is none


def watch(frames: Iterable[av.VideoFrame], shots: Shots) -> Pictures:
    """Look at frames in order while they are decoded."""
    detector, reformatter = ContentDetector(threshold=shots.threshold, min_scene_len=0), VideoReformatter()
    luma = Luma(SHARPNESS_LINES)
    clock = FrameTimecode(0, fps=25.0)  # the detector only hands it back
    times: list[float] = []
    sharpness: list[float] = []
    cuts: list[int] = []
    for index, frame in enumerate(frames):
        times.append(begin(frame))
        if detector.process_frame(clock, _small(frame, reformatter)):
            cuts.append(index)
        sharpness.append(laplacian_variance(luma(frame)))
    return Pictures(np.array(times), np.array(sharpness), np.array(cuts, int))


def laplacian_variance(luma: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian of luma (h, w) uint8."""
    deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1]
    return float(deviation[0, 0]) ** 2


def starts(pictures: Pictures, span: tuple[float, float], end_s: float, seconds: float, shots: Shots) -> list[float]:
    """Where clips of `seconds` begin: on frames, inside shots, not overlapping, in order.

    `span` is the time in which there is sound; the picture ends at `end_s`. Inside a shot clips follow each other, each
    moved to the sharpest frame within `shots.sharpest_within_s` as far as the shot has time left over.
    """
    times = pictures.times
    bounds = [0, *pictures.cuts.tolist(), len(times)]
    found: list[float] = []
    for first, last in pairwise(bounds):
        begin = max(float(times[first]), span[0] - _TOLERANCE_S)
        end = min(float(times[last]) if last < len(times) else end_s, span[1] + _TOLERANCE_S)
        while (slack := end - begin - seconds) >= -_TOLERANCE_S:
            further = int((slack + _TOLERANCE_S) / seconds)  # clips that fit behind this one
            spare = max(0.0, slack - further * seconds)
            window = _frames_within(times, begin, begin + min(spare, shots.sharpest_within_s))
            if not len(window):
                break
            start = float(times[window[np.argmax(pictures.sharpness[window])]])
            found.append(start)
            begin = start + seconds
    return found


def spread(starts: Sequence[float], most: int) -> list[float]:
    """At most `most` of them, evenly over the source."""
    if len(starts) <= most:
        return list(starts)
    return [starts[i] for i in np.linspace(0, len(starts) - 1, most).round().astype(int)]


def _small(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """BGR (h, w, 3) uint8, at most `ANALYSIS_WIDTH` wide."""
    scale = min(1.0, ANALYSIS_WIDTH / frame.width)
    return reformatter.reformat(
        frame,
        width=round(frame.width * scale),
        height=max(1, round(frame.height * scale)),
        format="bgr24",
        src_colorspace=colorspace(frame),
        interpolation=Interpolation.FAST_BILINEAR,
        threads=1,
    ).to_ndarray()


def _frames_within(times: np.ndarray, begin: float, end: float) -> np.ndarray:
    return np.arange(np.searchsorted(times, begin - 1e-6), np.searchsorted(times, end + 1e-6, side="right"))
