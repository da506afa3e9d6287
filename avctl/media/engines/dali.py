"""DALI: decode (NVDEC on a GPU), resize, crop and colour in one graph, several pieces of video a batch.

DALI knows frames by their index alone and files only as a whole, so it gets an excerpt of what the wanted frames need.
Every decoder of DALI's reads colours by BT.601; the graph turns them into what the file says. Without a GPU the same
graph decodes VP8, VP9 and MJPEG on the processor.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from avctl.errors import MachineError
from avctl.media.audio import Sound
from avctl.media.decode import Media
from avctl.media.engines import EngineError, refuse_what_only_pyav_does
from avctl.media.excerpt import excerpts
from avctl.media.fit import Geometry, recolour
from avctl.media.pick import pick
from avctl.media.probe import open_media, tracks
from avctl.media.sparse import stamps

if TYPE_CHECKING:
    from nvidia.dali.pipeline import Pipeline

BATCH = 8  # pieces decoded side by side
PIECE_BYTES = 256 * 2**20  # decoded frames of one piece at their full size: a batch takes eight times as much
_ON_CPU = ("vp8", "vp9", "mjpeg")
_ON_GPU = (*_ON_CPU, "h264", "hevc", "av1", "mpeg4")

Request = tuple[Media, np.ndarray, tuple[int, int]]  # as `Engine.read`
Frames = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Piece:
    """A part of a request, as the graph takes it. All but `data` small arrays, one value an axis."""

    data: np.ndarray  # (bytes,) uint8
    indices: np.ndarray  # (T,) int32
    scaled: np.ndarray  # (2,) float32: lines and columns after resizing
    begin: np.ndarray  # (2,) int32: of what is kept of them
    shape: np.ndarray  # (2,) int32
    colours: np.ndarray  # (3, 3) float32


class Dali:
    name = "dali"

    def __init__(self) -> None:
        try:
            from nvidia import dali
        except ImportError as error:
            raise MachineError("`nvidia-dali-cuda130` is not installed", "pip install 'avctl[gpu]'") from error
        self.is_on_gpu = has_gpu()
        self.version = f"{dali.__version__} on {'gpu' if self.is_on_gpu else 'cpu'}"
        self._pipeline: Pipeline | None = None

    def count(self, media: Media) -> int:
        with open_media(media.path) as file:
            return len(stamps(file, tracks(file)[0]))

    def read(self, media: Media, times_s: np.ndarray, size: tuple[int, int]) -> Frames:
        (answer,) = self.read_many([(media, times_s, size)])
        if isinstance(answer, EngineError):
            raise answer
        return answer

    def read_many(self, requests: Sequence[Request]) -> list[Frames | EngineError]:
        """The answers to several requests, whose pieces share batches. A file that fails, fails alone."""
        prepared = [self._prepare(*request) for request in requests]
        pieces = [piece for each in prepared if not isinstance(each, EngineError) for piece in each]
        decoded = iter([frames for i in range(0, len(pieces), BATCH) for frames in self._decode(pieces[i : i + BATCH])])
        return [
            each if isinstance(each, EngineError) else _join(request, [next(decoded) for _ in each])
            for request, each in zip(requests, prepared, strict=True)
        ]

    def sound(self, media: Media, start_s: float, end_s: float) -> Sound:
        return media.sound(start_s, end_s)

    def _prepare(self, media: Media, times_s: np.ndarray, size: tuple[int, int]) -> list[Piece] | EngineError:
        codec = media.probe.video_codec
        try:
            refuse_what_only_pyav_does(media)
            if codec not in (_ON_GPU if self.is_on_gpu else _ON_CPU):
                raise EngineError(
                    "codec", f"DALI does not decode {codec} on the {'GPU' if self.is_on_gpu else 'processor'}"
                )
            return _pieces(media, times_s, size)
        except EngineError as error:
            return error

    def _decode(self, pieces: Sequence[Piece]) -> list[np.ndarray | EngineError]:
        """Frames (T, h, w, 3) of each piece, as coded. A pipeline that failed once cannot be used again."""
        try:
            return self._run(pieces)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            self._pipeline = None
            if len(pieces) == 1:
                return [EngineError("refused", _sentence(str(error)))]
        return [frames for piece in pieces for frames in self._decode([piece])]

    def _run(self, pieces: Sequence[Piece]) -> list[np.ndarray | EngineError]:
        self._pipeline = self._pipeline or _graph(self.is_on_gpu)
        for name in ("data", "indices", "scaled", "begin", "shape", "colours"):
            self._pipeline.feed_input(name, [getattr(piece, name) for piece in pieces])
        (output,) = self._pipeline.run()
        frames = output.as_cpu() if self.is_on_gpu else output
        if len(frames) != len(pieces):
            raise RuntimeError(f"{len(pieces)} pieces were given and {len(frames)} came back")
        return [np.array(frames[k]) for k in range(len(pieces))]


def has_gpu() -> bool:
    """Whether the driver of an NVIDIA GPU answers."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _graph(is_on_gpu: bool) -> Pipeline:
    from nvidia.dali.pipeline import Pipeline

    fn, types = import_module("nvidia.dali.fn"), import_module("nvidia.dali.types")
    device, threads = (0, BATCH) if is_on_gpu else (None, 1)
    pipeline = Pipeline(BATCH, threads, device, prefetch_queue_depth=1, exec_dynamic=True)
    with pipeline:
        data = fn.external_source(name="data", dtype=types.UINT8, ndim=1)
        indices = fn.external_source(name="indices", dtype=types.INT32, ndim=1)
        scaled = fn.external_source(name="scaled", dtype=types.FLOAT, ndim=1)
        begin = fn.external_source(name="begin", dtype=types.INT32, ndim=1)
        shape = fn.external_source(name="shape", dtype=types.INT32, ndim=1)
        colours = fn.external_source(name="colours", dtype=types.FLOAT, ndim=2)
        frames = fn.decoders.video(data, device="mixed" if is_on_gpu else "cpu", frames=indices)  # F H W C
        frames = fn.resize(frames, size=scaled, min_filter=types.INTERP_LINEAR, mag_filter=types.INTERP_CUBIC)
        frames = fn.slice(frames, begin, shape, axis_names="HW")
        pipeline.set_outputs(fn.coord_transform(frames, M=colours, dtype=types.UINT8))
    pipeline.build()
    return pipeline


def _pieces(media: Media, times_s: np.ndarray, size: tuple[int, int]) -> list[Piece]:
    """The distinct frames of the request, ascending, in pieces of which none takes more than `PIECE_BYTES`."""
    times = np.array(media.scanned.times)
    chosen = np.unique(pick(times, times_s, media.scanned.interval_s))
    height, width = media.probe.height, media.probe.width
    geometry = Geometry(size, media.probe.pixel_aspect, media.scanned.rotation // 90 % 4)
    scaled = geometry.scaled(height, width)
    lines, columns = geometry.kept(*scaled)
    begin = np.array([lines.start, columns.start], np.int32)
    shape = np.array([lines.stop, columns.stop], np.int32) - begin
    step = max(1, PIECE_BYTES // (3 * height * width))
    try:
        parts = [
            part
            for first in range(0, len(chosen), step)
            for part in excerpts(media.path, times[chosen[first : first + step]].tolist())
        ]
        colours = [recolour(part.matrix, height) for part in parts]
    except ValueError as error:
        raise EngineError("stream", str(error)) from error
    return [
        Piece(part.data, part.indices, np.array(scaled, np.float32), begin, shape, colour)
        for part, colour in zip(parts, colours, strict=True)
    ]


def _join(request: Request, parts: Sequence[np.ndarray | EngineError]) -> Frames | EngineError:
    media, times_s, size = request
    failed = next((part for part in parts if isinstance(part, EngineError)), None)
    if failed:
        return failed
    times = np.array(media.scanned.times)
    chosen, places = np.unique(pick(times, times_s, media.scanned.interval_s), return_inverse=True)
    geometry = Geometry(size, media.probe.pixel_aspect, media.scanned.rotation // 90 % 4)
    frames = geometry.upright(np.concatenate(parts))  # pyright: ignore[reportCallIssue, reportArgumentType]
    if frames.shape != (len(chosen), *size, 3):
        return EngineError("frames", f"DALI gave {frames.shape}, not {(len(chosen), *size, 3)}")
    return np.ascontiguousarray(frames if len(chosen) == len(places) else frames[places]), times[chosen[places]]


def _sentence(message: str) -> str:
    """What DALI means, out of what it says: the line behind the word `encountered`."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    after = [k for k, line in enumerate(lines) if line.startswith("encountered")]
    return lines[after[-1] + 1] if after and after[-1] + 1 < len(lines) else lines[0] if lines else "no reason given"
