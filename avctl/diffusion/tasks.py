"""A task is a mask: which latent frames are given, so clean and never denoised, and which are made."""

from __future__ import annotations

import torch
from torch import Tensor

from avctl.models.latents import Latents
from avctl.schema.train import Task, TaskMix

TAKES: dict[Task, set[str]] = {  # besides a caption
    "text_to_both": set(),
    "audio_to_video": {"audio"},
    "video_to_audio": {"video"},
    "image_to_video": {"image"},
    "extend": {"audio", "video"},
}


def given_frames(
    task: Task, lengths: tuple[int, int], spans: tuple[int, int], keep: float = 0.5
) -> tuple[Tensor, Tensor]:
    """What `task` gives: video (F,) and audio (F,), 1 where given; always whole tokens.

    `lengths` are the latent frames of video and of audio, `spans` those of a video and of an audio token.
    image_to_video gives the first video token's worth, extend the tokens that lie wholly inside the first share `keep`.
    """
    video, audio = (torch.zeros(length) for length in lengths)
    match task:
        case "text_to_both":
            pass
        case "audio_to_video":
            audio[:] = 1
        case "video_to_audio":
            video[:] = 1
        case "image_to_video":
            video[: spans[0]] = 1
        case "extend":
            for mask, span in zip((video, audio), spans, strict=True):
                mask[: int(keep * len(mask) / span + 1e-6) * span] = 1
    return video, audio


def draw_tasks(mix: TaskMix, count: int, generator: torch.Generator) -> list[Task]:
    """`count` tasks in the proportions of the mix."""
    tasks = list(TAKES)
    weights = torch.tensor([getattr(mix, task) for task in tasks])
    return [tasks[i] for i in torch.multinomial(weights, count, replacement=True, generator=generator)]


def draw_given(
    tasks: list[Task], lengths: tuple[int, int], spans: tuple[int, int], generator: torch.Generator
) -> Latents:
    """Masks of a training batch, video (B, F) and audio (B, F); `extend` keeps a quarter to three quarters."""
    keeps = 0.25 + 0.5 * torch.rand(len(tasks), generator=generator)
    masks = [given_frames(task, lengths, spans, float(keep)) for task, keep in zip(tasks, keeps, strict=True)]
    video, audio = zip(*masks, strict=True)
    return Latents(torch.stack(video), torch.stack(audio))
