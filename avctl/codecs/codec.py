"""What a codec is: frames or samples to latents and back, with exact lengths both ways."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from avctl.schema import MDCT, LogMel
from avctl.schema.latents import video_cells


class VideoCodec(nn.Module):
    """Frames in [-1, 1] to latents. `down` and `time` are pixels and frames a latent cell."""

    down: int
    time: int
    channels: int  # C

    @abstractmethod
    def encode(self, frames: Tensor) -> Tensor:
        """frames (B, T, 3, H, W) -> latents (B, F, C, h, w)."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, F, C, h, w) -> frames (B, T, 3, H, W), not clamped."""

    def latent_shape(self, frames: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Latents (F, C, h, w) of `frames` frames of `size` pixels. ValueError where they do not divide."""
        latent_frames, height, width = video_cells(frames, size, self.time, self.down)
        return latent_frames, self.channels, height, width


class AudioCodec(nn.Module):
    """Samples in [-1, 1] to latents, one latent frame every `hop` samples."""

    spec: MDCT | LogMel
    hop: int
    channels: int  # C, of a latent frame

    @abstractmethod
    def encode(self, samples: Tensor) -> Tensor:
        """samples (B, channels, samples) -> latents (B, F, C)."""

    @abstractmethod
    def decode(self, latents: Tensor, samples: int) -> Tensor:
        """latents (B, F, C) -> exactly `samples` samples (B, channels, samples)."""

    def latent_frames(self, samples: int) -> int:
        """Latent frames that cover `samples` samples."""
        return self.spec.latent_frames(samples)
