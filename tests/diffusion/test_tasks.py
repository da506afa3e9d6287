"""Every task is a mask, of whole tokens, drawn in the proportions of the recipe."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
import torch

from avctl.diffusion.tasks import TAKES, draw_given, draw_tasks, given_tokens
from avctl.models.packing import Grid
from avctl.schema import TaskMix
from avctl.schema.train import Task

CLIP = Grid(4, 2, 1, 10)


def test_all_tasks_of_the_schema_are_known() -> None:
    assert set(TAKES) == set(get_args(Task)) == set(TaskMix.model_fields)


@pytest.mark.parametrize(
    ("task", "video", "audio"),
    [
        ("text_to_both", [0] * 8, [0] * 10),
        ("audio_to_video", [0] * 8, [1] * 10),
        ("video_to_audio", [1] * 8, [0] * 10),
        ("image_to_video", [1] * 2 + [0] * 6, [0] * 10),
        ("extend", [1] * 4 + [0] * 4, [1] * 5 + [0] * 5),
    ],
)
def test_a_task_gives_what_its_name_says(task: Task, video: list[int], audio: list[int]) -> None:
    given = given_tokens(task, CLIP)
    assert given.video.tolist() == video and given.audio.tolist() == audio


@pytest.mark.parametrize(("keep", "frames", "sounds"), [(0.5, 2, 5), (0.6, 2, 6), (0.75, 3, 7), (0.99, 3, 9)])
def test_extend_keeps_whole_tokens_only(keep: float, frames: int, sounds: int) -> None:
    video, audio = given_tokens("extend", CLIP, keep)
    assert video.tolist() == [1] * 2 * frames + [0] * 2 * (4 - frames)
    assert audio.tolist() == [1] * sounds + [0] * (10 - sounds)


def test_extend_never_gives_a_moment_beyond_what_is_kept() -> None:
    for share in torch.linspace(0, 1, 41).tolist():
        video, audio = given_tokens("extend", CLIP, share)
        assert video.sum() / 8 <= share + 1e-6 and audio.sum() / 10 <= share + 1e-6


def test_what_a_clip_does_not_have_is_not_given() -> None:
    assert [len(mask) for mask in given_tokens("audio_to_video", Grid(1, 2, 2, 0))] == [4, 0]
    assert [len(mask) for mask in given_tokens("image_to_video", Grid(0, 0, 0, 3))] == [0, 3]


def test_tasks_are_drawn_in_the_proportions_of_the_mix() -> None:
    mix = TaskMix(text_to_both=2, audio_to_video=1, video_to_audio=1)
    drawn = Counter(draw_tasks(mix, 8_000, torch.Generator().manual_seed(0)))
    assert set(drawn) == {"text_to_both", "audio_to_video", "video_to_audio"}
    assert drawn["text_to_both"] == pytest.approx(4_000, rel=0.05)
    assert drawn["audio_to_video"] == pytest.approx(2_000, rel=0.08)


def test_a_pack_has_the_masks_of_its_clips_end_to_end() -> None:
    grids = CLIP, Grid(1, 2, 2, 0), CLIP
    tasks: list[Task] = ["audio_to_video", "text_to_both", "video_to_audio"]
    given = draw_given(tasks, grids, torch.Generator().manual_seed(0))
    assert given.video.tolist() == [0] * 12 + [1] * 8 and given.audio.tolist() == [1] * 10 + [0] * 10


def test_what_extend_keeps_in_training_varies_from_a_quarter_to_three() -> None:
    long = Grid(8, 1, 1, 0)
    tasks: list[Task] = ["extend"] * 500
    given = draw_given(tasks, [long] * 500, torch.Generator().manual_seed(0)).video.view(500, 8)
    assert set(given.sum(1).int().tolist()) == {2, 3, 4, 5}
    assert (given[:, 0] == 1).all() and (given[:, -1] == 0).all()
