"""Pictures and sound as they are stored, to what codecs and models compute in, and back."""

from __future__ import annotations

import math

from torch import Tensor

from avctl.kernels.frames_to_model import frames_to_model

FULL_SCALE = 32_768  # of int16 samples


def from_pixels(pixels: Tensor) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) in [-1, 1]."""
    *several, height, width, channels = pixels.shape
    pictures = pixels.reshape(math.prod(several), 1, height, width, channels)  # clips of one frame
    return frames_to_model(pictures, None, None).reshape(*several, channels, height, width)


def to_pixels(frames: Tensor) -> Tensor:
    """(..., 3, H, W), cut off at -1 and 1 -> (..., H, W, 3) uint8."""
    return ((frames.float().clamp(-1, 1) + 1) * 127.5).round().byte().movedim(-3, -1)


def from_samples(samples: Tensor) -> Tensor:
    """(..., samples, channels) int16 -> (..., channels, samples) in [-1, 1)."""
    return samples.movedim(-1, -2).float() / FULL_SCALE
