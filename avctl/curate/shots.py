"""One pass over the frames of a source: where its shots begin and end, and how sharp every frame is.

Each consumer sees every frame at its own size, by one scaling of its own: the cut detector in colour,
sharpness in luma, refinement four times a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from avctl.curate.cuts import CutDetector, detector
from avctl.curate.refine import Refiner
from avctl.media.fit import Luma, colorspace
from avctl.media.scan import begin
from avctl.schema import Shots

SHARPNESS_LINES = 360  # taller frames are reduced to this, so that one threshold fits 480p and 4K
_COARSE = 8  # from this reduction on every pixel is averaged: the fast scaler looks at two lines of those it merges


@dataclass(frozen=True)
class Pictures:
    """What the pass saw, one value a frame."""

    times: np.ndarray  # (N,) seconds on the presentation clock
    sharpness: np.ndarray  # (N,) variance of the Laplacian of luma 0..255
    shots: np.ndarray  # (S, 2) first frame of each shot, and the one behind its last: between two may lie a dissolve
    cuts_s: np.ndarray | None  # (C,) when shots begin, also beyond these frames; None: nobody looked


def watch(frames: Iterable[av.VideoFrame], shots: Shots) -> Pictures:
    """See each frame once. What `frames` raises is passed on; errors as `load` raises them."""
    cuts, refiner = load(shots)
    colour, sample, luma = Colour(), Colour(), Luma(SHARPNESS_LINES)
    times: list[float] = []
    sharpness: list[float] = []
    for index, frame in enumerate(frames):
        times.append(begin(frame))
        sharpness.append(laplacian_variance(luma(frame)))
        if cuts:
            cuts.add(colour(frame, cuts.size(frame.height, frame.width)))
        if refiner and refiner.wants(times[-1]):
            refiner.add(index, sample(frame, refiner.size))
    changes = cuts.changes() if cuts else np.empty((0, 2), int)
    if refiner:
        changes = np.concatenate([changes, refiner.changes(between(changes, len(times)))])
    found, at = between(changes, len(times)), np.array(times)
    return Pictures(at, np.array(sharpness), found, at[found[1:, 0]] if cuts else None)


def load(shots: Shots) -> tuple[CutDetector | None, Refiner | None]:
    """Who looks for changes, for one span. MachineError where a package is missing, InputError for bad weights."""
    return detector(shots.detector) if shots.detector else None, Refiner(shots.refine) if shots.refine else None


def between(changes: np.ndarray, num_frames: int) -> np.ndarray:
    """Changes (C, 2), none within another, to the shots (S, 2) between them; those without a frame are left out."""
    edges = np.concatenate([[0], np.sort(changes, axis=0).ravel(), [num_frames]]).reshape(-1, 2)
    return edges[edges[:, 0] < edges[:, 1]]


def laplacian_variance(luma: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian of luma (h, w) uint8."""
    deviation = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1]
    return float(deviation[0, 0]) ** 2


class Colour:
    """RGB of one source's frames as coded, at one size. Keep one a consumer: the scaler behind it is built once."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray:
        """(h, w, 3) uint8 of `size` = (h, w)."""
        is_coarse = frame.height >= _COARSE * size[0]
        return self._reformatter.reformat(
            frame,
            height=size[0],
            width=size[1],
            format="rgb24",
            src_colorspace=colorspace(frame),
            interpolation=Interpolation.AREA if is_coarse else Interpolation.FAST_BILINEAR,
            threads=1,
        ).to_ndarray()
