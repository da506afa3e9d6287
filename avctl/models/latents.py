"""What clips are made of for a model: two tracks, and what is known of the shape and the clock of their latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from avctl.codecs import AudioCodec, VideoCodec
from avctl.schema import Clip


class Tracks(NamedTuple):
    """Something of the picture, and the same of the sound: latents of a batch, (B, F, C, H, W) and (B, F, C), or
    tokens of packed clips, (V, p) and (A, q), or masks or seeds of either."""

    video: Tensor
    audio: Tensor

    def map(self, function: Callable[..., Tensor], *others: Tracks) -> Tracks:
        """`function` on the video of all, and on the audio of all."""
        return Tracks(
            function(self.video, *(o.video for o in others)), function(self.audio, *(o.audio for o in others))
        )


@dataclass(frozen=True)
class Layout:
    """Shape and rate of the latents that a model is built for. Length and size are those of the main bucket."""

    video_frames: int  # F of a clip
    video_channels: int  # C
    video_size: tuple[int, int]  # H, W
    video_rate: float  # latent frames a second
    audio_frames: int
    audio_channels: int
    audio_rate: float
    audio_start_s: float = 0.0  # when the first latent frame begins

    @property
    def lengths(self) -> tuple[int, int]:
        """Latent frames of video and of audio."""
        return self.video_frames, self.audio_frames

    @classmethod
    def of(cls, clip: Clip, video: VideoCodec, audio: AudioCodec) -> Layout:
        """The latents that these codecs make of a clip."""
        frames, channels, *size = video.latent_shape(clip.frames, clip.size)
        return cls(
            video_frames=frames,
            video_channels=channels,
            video_size=(size[0], size[1]),
            video_rate=clip.fps / video.time,
            audio_frames=audio.latent_frames(clip.samples),
            audio_channels=audio.channels,
            audio_rate=clip.sample_rate / audio.hop,
            audio_start_s=audio.spec.first_sample / clip.sample_rate,
        )
