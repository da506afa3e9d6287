"""Every task is a mask, of whole tokens, drawn in the proportions of the recipe."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
import torch

from avctl.diffusion.tasks import TAKES, draw_given, draw_tasks, given_frames
from avctl.schema import TaskMix
from avctl.schema.train import Task

LENGTHS = (8, 20)  # latent frames of video and of audio


def test_all_tasks_of_the_schema_are_known() -> None:
    assert set(TAKES) == set(get_args(Task)) == set(TaskMix.model_fields)


@pytest.mark.parametrize(
    ("task", "video", "audio"),
    [
        ("text_to_both", [0] * 8, [0] * 20),
        ("audio_to_video", [0] * 8, [1] * 20),
        ("video_to_audio", [1] * 8, [0] * 20),
        ("image_to_video", [1] + [0] * 7, [0] * 20),
        ("extend", [1] * 4 + [0] * 4, [1] * 10 + [0] * 10),
    ],
)
def test_a_task_gives_what_its_name_says(task: Task, video: list[int], audio: list[int]) -> None:
    given = given_frames(task, LENGTHS, (1, 1))
    assert given[0].tolist() == video and given[1].tolist() == audio


def test_an_image_fills_one_token() -> None:
    assert given_frames("image_to_video", LENGTHS, (2, 5))[0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("keep", "frames", "sounds"), [(0.5, 4, 10), (0.6, 4, 10), (0.75, 6, 15), (0.99, 6, 15)])
def test_extend_keeps_whole_tokens_only(keep: float, frames: int, sounds: int) -> None:
    video, audio = given_frames("extend", LENGTHS, (2, 5), keep)
    assert (int(video.sum()), int(audio.sum())) == (frames, sounds)
    assert video[:frames].all() and audio[:sounds].all()


def test_extend_never_gives_a_moment_beyond_what_is_kept() -> None:
    for share in torch.linspace(0, 1, 41).tolist():
        video, audio = given_frames("extend", LENGTHS, (2, 5), share)
        assert video.sum() / 8 <= share + 1e-6 and audio.sum() / 20 <= share + 1e-6


def test_tasks_are_drawn_in_the_proportions_of_the_mix() -> None:
    mix = TaskMix(text_to_both=2, audio_to_video=1, video_to_audio=1)
    drawn = Counter(draw_tasks(mix, 8_000, torch.Generator().manual_seed(0)))
    assert set(drawn) == {"text_to_both", "audio_to_video", "video_to_audio"}
    assert drawn["text_to_both"] == pytest.approx(4_000, rel=0.05)
    assert drawn["audio_to_video"] == pytest.approx(2_000, rel=0.08)


def test_a_batch_has_a_mask_a_clip() -> None:
    given = draw_given(["audio_to_video", "text_to_both", "extend"], LENGTHS, (1, 1), torch.Generator().manual_seed(0))
    assert given.video.shape == (3, 8) and given.audio.shape == (3, 20)
    assert given.audio[0].all() and not given.video[0].any() and not given.audio[1].any()


def test_what_extend_keeps_in_training_varies_from_a_quarter_to_three() -> None:
    given = draw_given(["extend"] * 500, LENGTHS, (1, 1), torch.Generator().manual_seed(0))
    kept = set(given.video.sum(1).int().tolist())
    assert kept == {2, 3, 4, 5}
    assert (given.video[:, 0] == 1).all() and (given.video[:, -1] == 0).all()
