"""Decoded frames to RGB of one size: square pixels, upright, the target covered, the rest cut off evenly."""

from __future__ import annotations

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_PLANAR_8_BIT = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray")
_HD_LINES = 720  # from here on, a file that does not say is BT.709; below it is BT.601


class Fit:
    """Turns frames of one source into (H, W, 3) uint8. Keep one a source: the scaler behind it is built once."""

    def __init__(self, size: tuple[int, int], pixel_aspect: float, rotation: int):
        self.size, self.pixel_aspect, self.turns = size, pixel_aspect, rotation // 90 % 4  # counterclockwise
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        height, width = self._scaled(frame.height, frame.width)
        enlarges = height > frame.height or width > frame.width
        pixels = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=colorspace(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BICUBIC if enlarges else Interpolation.AREA,
            threads=1,
        ).to_ndarray()
        return _centre(np.rot90(pixels, self.turns), self.size)

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        """Coded size after scaling: turned upright, it covers the target and touches it on one side."""
        target = self.size if self.turns % 2 == 0 else self.size[::-1]
        scale = max(target[0] / height, target[1] / (width * self.pixel_aspect))
        return (
            max(target[0], round(height * scale)),
            max(target[1], round(width * self.pixel_aspect * scale)),
        )


def colorspace(frame: av.VideoFrame) -> Colorspace | None:
    """The matrix to read a frame with where it does not say itself; None where it does."""
    if frame.colorspace != _UNSPECIFIED:
        return None
    return Colorspace.ITU709 if frame.height >= _HD_LINES else Colorspace.ITU601


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
        plane = frame.planes[0]
        luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
        if frame.height <= self.lines:
            return luma
        size = max(1, round(frame.width * self.lines / frame.height)), self.lines
        return cv2.resize(luma, size, interpolation=cv2.INTER_AREA)  # a fifth of swscale's time


def _centre(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, left = (pixels.shape[0] - size[0]) // 2, (pixels.shape[1] - size[1]) // 2
    return pixels[top : top + size[0], left : left + size[1]]
