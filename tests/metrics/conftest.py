"""Clips of the small world as a generator's clips reach the readers: through an mp4, and down to 32x32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from avctl.media.mux import write_mp4
from avctl.media.synthetic import render
from avctl.schema import Synthetic

SPEC = Synthetic(count=96, seed=5)


@dataclass(frozen=True)
class Example:
    frames: np.ndarray  # (T, 32, 32, 3) uint8
    audio: np.ndarray  # (samples, 2) float32
    truth: dict[str, Any]


def through_mp4(path: Path, index: int) -> Example:
    scene = render(index, SPEC)
    write_mp4(path, scene.frames, scene.audio, SPEC.fps, SPEC.sample_rate)
    with av.open(str(path)) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        audio = np.concatenate([frame.to_ndarray() for frame in file.decode(stream)], 1).T[: stream.duration]
    small = frames.reshape(len(frames), 32, 2, 32, 2, 3).mean((2, 4)).round().astype(np.uint8)
    return Example(small, audio, scene.truth)


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("examples")
    return [through_mp4(folder / f"{index}.mp4", index) for index in range(SPEC.count)]
