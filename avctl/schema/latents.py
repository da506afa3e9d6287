"""What a clip becomes: latents by its codecs, tokens by the model's patches.

Whole numbers only, without torch: a recipe in which something does not divide is refused before any work is done.
"""

from __future__ import annotations

from avctl.schema.clip import Clip
from avctl.schema.codec import MDCT, Haar, LogMel
from avctl.schema.model import FrameAutoencoder, JointDiT


def video_cells(frames: int, size: tuple[int, int], time: int, down: int) -> tuple[int, int, int]:
    """Latent frames, rows and columns of `frames` of `size` pixels, a cell being `time` frames of `down` x `down`."""
    if frames % time or size[0] % down or size[1] % down:
        raise ValueError(f"{frames} frames of {size} do not divide into cells of {time} x {down} x {down}")
    return frames // time, size[0] // down, size[1] // down


def latents(clip: Clip, video: Haar | FrameAutoencoder, audio: MDCT | LogMel) -> tuple[tuple[int, int, int], int]:
    """Video latents (F, h, w) and audio latent frames of a clip. ValueError where pixels or frames do not divide."""
    return video_cells(clip.frames, clip.size, video.time, video.down), audio.latent_frames(clip.samples)


def token_grid(model: JointDiT, video: tuple[int, int, int], audio_frames: int) -> tuple[tuple[int, int, int], int]:
    """Video tokens (F, h, w) and audio tokens of such latents. ValueError where the patches do not divide them."""
    if any(length % patch for length, patch in zip(video, model.video_patch, strict=True)):
        frames, height, width = video
        raise ValueError(f"`video_patch`: {model.video_patch} does not divide latents of {frames} x {height} x {width}")
    if audio_frames % model.audio_patch:
        raise ValueError(f"`audio_patch`: {model.audio_patch} does not divide {audio_frames} latent frames of sound")
    frames, rows, columns = (length // patch for length, patch in zip(video, model.video_patch, strict=True))
    return (frames, rows, columns), audio_frames // model.audio_patch
