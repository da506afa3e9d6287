"""What a task is given from outside: sound, pictures or both, from files or arrays, as tensors of a clip's length."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avctl.codecs.convert import from_pixels
from avctl.diffusion.tasks import TAKES
from avctl.media.load import load_frames, load_sound
from avctl.schema import Clip
from avctl.schema.train import Task


@dataclass(frozen=True)
class Known:
    """What a task is given, for a batch: frames (B, T, 3, H, W) and samples (B, channels, samples) in [-1, 1].

    Both are as long as a clip; what `extend` is to replace may hold anything.
    """

    frames: Tensor | None = None
    samples: Tensor | None = None


def gather(
    task: Task,
    clip: Clip,
    keep_s: float,
    audio: np.ndarray | str | Path | None,
    video: np.ndarray | str | Path | None,
    image: np.ndarray | None,
) -> Known:
    """A batch of one. Audio (samples, channels) float in [-1, 1], video (T, H, W, 3) uint8, image (H, W, 3) uint8.

    Of what is longer than needed the start is taken: `keep_s` seconds for `extend`, a whole clip for other tasks.
    ValueError for what the task does not take or lacks, InputError where a file cannot be read or is too short.
    """
    takes = TAKES[task]
    has = {name for name, value in (("audio", audio), ("video", video), ("image", image)) if value is not None}
    if has != takes:
        needs = " and ".join(sorted(takes)) or "no sound or picture"
        raise ValueError(f"{task} takes {needs}, and was given {' and '.join(sorted(has)) or 'nothing'}")
    seconds = keep_s if task == "extend" else clip.seconds
    if image is not None:
        if not isinstance(image, np.ndarray):
            raise ValueError(f"image is an array of pixels, not {type(image).__name__}")
        return Known(frames=_frames("image", image[None], clip, 1))
    return Known(
        None if video is None else _frames("video", video, clip, max(1, round(seconds * clip.fps))),
        None if audio is None else _samples(audio, clip, max(1, round(seconds * clip.sample_rate))),
    )


def _frames(name: str, video: np.ndarray | str | Path, clip: Clip, count: int) -> Tensor:
    """The first `count` frames as (1, T, 3, H, W), and the last of them up to the length of a clip."""
    if isinstance(video, str | Path):
        video = load_frames(Path(video), clip, count)
    _check(name, video, (count, *clip.size, 3), "uint8")
    kept = video[:count]
    whole = np.concatenate([kept, kept[-1:].repeat(clip.frames - count, axis=0)])
    return from_pixels(torch.from_numpy(whole))[None]


def _samples(audio: np.ndarray | str | Path, clip: Clip, count: int) -> Tensor:
    """The first `count` samples as (1, channels, samples), and their mirror image up to the length of a clip: a window
    of the codec that reaches beyond them finds neither silence nor a click."""
    if isinstance(audio, str | Path):
        audio = load_sound(Path(audio), clip, count)
    _check("audio", audio, (count, clip.channels), "float")
    whole = np.pad(audio[:count], ((0, clip.samples - count), (0, 0)), mode="symmetric")
    return torch.from_numpy(whole).float().T[None]


def _check(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> None:
    """ValueError unless `array` is `shape`, or longer along its first axis, and of this type."""
    if array.shape[1:] != shape[1:] or len(array) < shape[0] or not array.dtype.name.startswith(dtype):
        raise ValueError(f"{name} is {shape} {dtype} for this model, not {array.shape} {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
