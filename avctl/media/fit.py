"""Decoded frames to RGB of one size: square pixels, upright, the target covered, the rest cut off evenly."""

from __future__ import annotations

from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

UNSPECIFIED = 2  # the file does not say by which matrix its colours are coded
_PLANAR_8_BIT = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray")
_BT709, _BT601, _BT2020 = 1, 6, 9
_LUMA_WEIGHTS = {  # of red and blue
    _BT709: (0.2126, 0.0722),
    4: (0.3, 0.11),
    5: (0.299, 0.114),
    _BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    _BT2020: (0.2627, 0.0593),
}
_HD_LINES = 720  # from here on, a file that does not say is BT.709; below it is BT.601


@dataclass(frozen=True)
class Geometry:
    """How coded frames of one source become upright ones of `size`: scaled, cut in the middle, and turned."""

    size: tuple[int, int]  # (H, W), upright
    pixel_aspect: float
    turns: int  # quarter turns counterclockwise

    def scaled(self, height: int, width: int) -> tuple[int, int]:
        """Coded size after scaling: turned upright, it covers the target and touches it on one side."""
        target = self._target
        scale = max(target[0] / height, target[1] / (width * self.pixel_aspect))
        return (
            max(target[0], round(height * scale)),
            max(target[1], round(width * self.pixel_aspect * scale)),
        )

    def kept(self, height: int, width: int) -> tuple[slice, slice]:
        """Lines and columns of a scaled, coded frame that stay: the middle, and of two middles the upper left one as it
        is seen upright."""
        target = self._target
        spare = height - target[0], width - target[1]
        is_far = self.turns in (2, 3), self.turns in (1, 2)  # top and left are seen below and on the right
        begin = [(room + far) // 2 for room, far in zip(spare, is_far, strict=True)]
        return slice(begin[0], begin[0] + target[0]), slice(begin[1], begin[1] + target[1])

    def upright(self, frames: np.ndarray) -> np.ndarray:
        """Frames (..., h, w, 3) as coded -> (..., H, W, 3)."""
        return np.rot90(frames, self.turns, axes=(-3, -2))

    @property
    def _target(self) -> tuple[int, int]:
        height, width = self.size
        return (height, width) if self.turns % 2 == 0 else (width, height)


class Fit:
    """Turns frames of one source into (H, W, 3) uint8. Keep one a source: the scaler behind it is built once."""

    def __init__(self, size: tuple[int, int], pixel_aspect: float, rotation: int):
        self.geometry = Geometry(size, pixel_aspect, rotation // 90 % 4)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        height, width = self.geometry.scaled(frame.height, frame.width)
        enlarges = height > frame.height or width > frame.width
        planar = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="gbrp",  # swscale writes packed RGB slower, and of even widths with half of its colours
            src_colorspace=colorspace(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BICUBIC if enlarges else Interpolation.AREA,
            threads=1,
        )
        kept = self.geometry.kept(height, width)
        green, blue, red = (_plane(planar, index)[kept] for index in range(3))
        return self.geometry.upright(cv2.merge([red, green, blue]))


def colorspace(frame: av.VideoFrame) -> Colorspace | None:
    """The matrix to read a frame with where it does not say itself; None where it does."""
    if frame.colorspace != UNSPECIFIED:
        return None
    return Colorspace.ITU709 if frame.height >= _HD_LINES else Colorspace.ITU601


def recolour(matrix: int, height: int) -> np.ndarray:
    """(3, 3) float32 that turns RGB which a decoder made by BT.601, whatever the file says, into what it should be.

    `matrix` is the file's own, by its number in ITU-T H.273; ValueError for one that is no matrix of luma and chroma.
    """
    if matrix == UNSPECIFIED:
        matrix = _BT709 if height >= _HD_LINES else _BT601
    if matrix not in _LUMA_WEIGHTS:
        raise ValueError(f"colour matrix {matrix}")
    return (_to_rgb(*_LUMA_WEIGHTS[matrix]) @ np.linalg.inv(_to_rgb(*_LUMA_WEIGHTS[_BT601]))).astype(np.float32)


def _to_rgb(red: float, blue: float) -> np.ndarray:
    """(3, 3) from luma and two chromas to RGB, by the weights of red and blue in luma (ITU-T H.273, 8.3)."""
    green = 1 - red - blue
    return np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    )


class Luma:
    """Luma of one source's frames, (h, w) uint8 as coded, reduced to at most `lines` lines."""

    def __init__(self, lines: int):
        self.lines = lines
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """A view of the frame where it is small and 8-bit planar, as most small ones are."""
        if frame.format.name not in _PLANAR_8_BIT:
            frame = self._reformatter.reformat(
                frame,
                format="gray",
                src_color_range=ColorRange.JPEG,  # the same range on both sides: levels stay as they are coded
                dst_color_range=ColorRange.JPEG,
                threads=1,
            )
        luma = _plane(frame, 0)
        if frame.height <= self.lines:
            return luma
        size = max(1, round(frame.width * self.lines / frame.height)), self.lines
        return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)  # a fifth of swscale's time


def _plane(frame: av.VideoFrame, index: int) -> np.ndarray:
    """A view (h, w) uint8 of one plane of the size of the frame."""
    plane = frame.planes[index]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
