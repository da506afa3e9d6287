"""torchcodec: the reference for exact times and for sound, because it counts frames and samples by code of its own.

It decodes by the FFmpeg that the system has, frame by frame at their full size, upright. They are fitted here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avctl.errors import MachineError
from avctl.media.audio import Sound
from avctl.media.decode import Media
from avctl.media.engines import EngineError, refuse_what_only_pyav_does
from avctl.media.fit import UNSPECIFIED, Geometry, recolour
from avctl.media.pick import TICK, pick
from avctl.media.probe import open_media, tracks

BATCH_BYTES = 256 * 2**20  # decoded frames held at a time


class TorchCodec:
    name, is_on_gpu = "torchcodec", False

    def __init__(self) -> None:
        try:
            self._decoders = import_module("torchcodec.decoders")
        except ImportError as error:
            raise MachineError("`torchcodec` is not installed", "pip install 'avctl[torchcodec]'") from error
        if import_module("torchcodec").ffmpeg_major_version is None:  # what it would say at the first file
            hint = "install FFmpeg's shared libraries: apt-get install ffmpeg"
            raise MachineError("torchcodec finds no FFmpeg that it can load", hint)
        self.version = metadata.version("torchcodec")
        self._opened = lru_cache(maxsize=1)(self._open)  # opening one counts all its frames

    def count(self, media: Media) -> int:
        return len(self._opened(media.path)[0])

    def read(self, media: Media, times_s: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        refuse_what_only_pyav_does(media)
        times = np.array(media.scanned.times)
        chosen = pick(times, times_s, media.scanned.interval_s)
        decoder, matrix = self._opened(media.path)
        if len(decoder) != len(times):
            raise EngineError("frames", f"torchcodec finds {len(decoder)} frames, PyAV {len(times)}")
        frames, shown = np.empty((len(chosen), *size, 3), np.uint8), np.empty(len(chosen))
        colours = recolour(matrix, media.probe.height) if matrix == UNSPECIFIED else None  # it reads those by BT.601
        step = max(1, BATCH_BYTES // (3 * media.probe.width * media.probe.height))
        for first in range(0, len(chosen), step):
            part = slice(first, first + step)
            batch = _call(decoder.get_frames_at, chosen[part].tolist())
            shown[part] = batch.pts_seconds.numpy()
            for k, frame in enumerate(batch.data.numpy(), first):
                fitted = _fit(frame, media, size)
                frames[k] = fitted if colours is None else cv2.transform(fitted, colours)
        worst = float(np.abs(shown - times[chosen]).max())
        if worst > TICK:
            raise EngineError("times", f"torchcodec shows frames up to {worst:.6f} s from when PyAV does")
        return frames, shown

    def sound(self, media: Media, start_s: float, end_s: float) -> Sound:
        with open_media(media.path) as file:
            track = tracks(file)[1]
            if track is None:
                raise EngineError("no_audio", "the file has no sound track")
            index, layout = track.index, track.codec_context.layout.name
        decoder = _call(self._decoders.AudioDecoder, media.path, stream_index=index)
        samples = _call(decoder.get_samples_played_in_range, start_s, end_s)
        return Sound(samples.data.numpy().T, samples.sample_rate, samples.pts_seconds, layout)

    def _open(self, path: Path) -> tuple[Any, int]:
        """A decoder of the picture, and the number of its colour matrix."""
        with open_media(path) as file:
            video = tracks(file)[0]
            index, matrix = video.index, int(video.codec_context.colorspace)
        options = {"stream_index": index, "dimension_order": "NHWC", "seek_mode": "exact"}
        return _call(self._decoders.VideoDecoder, path, **options), matrix


def _call(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """What torchcodec answers. Its errors are RuntimeError, and ValueError and IndexError for odd streams."""
    try:
        return function(*given, **named)
    except (RuntimeError, ValueError, IndexError) as error:
        raise EngineError("refused", str(error).splitlines()[0]) from error


def _fit(frame: np.ndarray, media: Media, size: tuple[int, int]) -> np.ndarray:
    """A whole upright frame (h, w, 3) to (H, W, 3)."""
    sideways = media.scanned.rotation % 180 != 0
    geometry = Geometry(size, media.probe.pixel_aspect ** (-1 if sideways else 1), 0)
    height, width = geometry.scaled(*frame.shape[:2])
    enlarges = height > frame.shape[0] or width > frame.shape[1]
    scaled = cv2.resize(frame, (width, height), interpolation=cv2.INTER_CUBIC if enlarges else cv2.INTER_AREA)
    return scaled[geometry.kept(height, width)]
