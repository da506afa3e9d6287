"""A task is a mask: which tokens are given, so clean and never denoised, and which are made."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from avctl.models.latents import Tracks
from avctl.models.packing import Grid
from avctl.schema.train import Task, TaskMix

TAKES: dict[Task, set[str]] = {  # besides a caption
    "text_to_both": set(),
    "audio_to_video": {"audio"},
    "video_to_audio": {"video"},
    "image_to_video": {"image"},
    "extend": {"audio", "video"},
}


def given_tokens(task: Task, grid: Grid, keep: float = 0.5) -> Tracks:
    """What `task` gives of a clip: masks of its video tokens (V,) and audio tokens (A,), 1 where given.

    image_to_video gives the first tokens in time, extend those that lie wholly inside the first share `keep`.
    """
    frames, audio = torch.zeros(grid.frames), torch.zeros(grid.sounds)
    match task:
        case "text_to_both":
            pass
        case "audio_to_video":
            audio[:] = 1
        case "video_to_audio":
            frames[:] = 1
        case "image_to_video":
            frames[:1] = 1
        case "extend":
            for mask in (frames, audio):
                mask[: int(keep * len(mask) + 1e-6)] = 1
    return Tracks(frames.repeat_interleave(grid.rows * grid.columns), audio)


def draw_tasks(mix: TaskMix, count: int, generator: torch.Generator) -> list[Task]:
    """`count` tasks in the proportions of the mix."""
    tasks = list(TAKES)
    weights = torch.tensor([getattr(mix, task) for task in tasks])
    return [tasks[i] for i in torch.multinomial(weights, count, replacement=True, generator=generator)]


def draw_given(tasks: Sequence[Task], grids: Sequence[Grid], generator: torch.Generator) -> Tracks:
    """Masks of packed clips, video (V,) and audio (A,); `extend` keeps a quarter to three quarters."""
    keeps = (0.25 + 0.5 * torch.rand(len(tasks), generator=generator)).tolist()
    masks = [given_tokens(*each) for each in zip(tasks, grids, keeps, strict=True)]
    return Tracks(*(torch.cat(track) for track in zip(*masks, strict=True)))
