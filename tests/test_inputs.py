"""What a task is given is taken from its start, filled up to a clip, and refused where it does not serve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from avctl.inputs import gather
from avctl.schema import Clip
from avctl.schema.train import Task

CLIP = Clip(seconds=1.0, size=(16, 18), fps=4, sample_rate=8_000, channels=2)
VIDEO = (np.arange(6 * 16 * 18 * 3) % 251).astype(np.uint8).reshape(6, 16, 18, 3)
AUDIO = np.linspace(-1, 1, 24_000).reshape(12_000, 2)


def test_a_whole_clip_is_the_start_of_what_is_longer() -> None:
    frames = gather("video_to_audio", CLIP, 1.0, None, VIDEO, None).frames
    assert frames is not None and frames.shape == (1, 4, 3, 16, 18)
    assert torch.equal(((frames[0] + 1) * 127.5).round().byte(), torch.from_numpy(VIDEO[:4]).permute(0, 3, 1, 2))
    samples = gather("audio_to_video", CLIP, 1.0, AUDIO, None, None).samples
    assert samples is not None and torch.equal(samples[0].T, torch.from_numpy(AUDIO[:8_000]).float())


def test_an_image_stays_for_the_length_of_the_clip() -> None:
    frames = gather("image_to_video", CLIP, 1.0, None, None, VIDEO[2]).frames
    assert frames is not None and all(torch.equal(frame, frames[0, 0]) for frame in frames[0])


def test_beyond_what_extend_keeps_pictures_stay_and_sound_is_mirrored() -> None:
    known = gather("extend", CLIP, 0.5, AUDIO, VIDEO, None)
    assert known.frames is not None and known.samples is not None
    assert torch.equal(known.frames[0, 2], known.frames[0, 1]) and torch.equal(known.frames[0, 3], known.frames[0, 1])
    assert torch.equal(known.samples[0, :, 4_000:], known.samples[0, :, :4_000].flip(1))


@pytest.mark.parametrize(
    ("task", "given", "message"),
    [
        ("text_to_both", {"audio": AUDIO}, "takes no sound or picture, and was given audio"),
        ("extend", {"video": VIDEO}, "takes audio and video, and was given video"),
        ("video_to_audio", {"video": VIDEO[:3]}, r"video is \(4, 16, 18, 3\) uint8"),
        ("audio_to_video", {"audio": AUDIO[:, :1]}, r"audio is \(8000, 2\) float"),
        ("audio_to_video", {"audio": (AUDIO * 100).astype(np.int16)}, "not .* int16"),
        ("image_to_video", {"image": VIDEO[0, :3]}, "image is"),
    ],
)
def test_what_does_not_serve_is_refused(task: Task, given: dict[str, Any], message: str) -> None:
    nothing = {"audio": None, "video": None, "image": None}
    with pytest.raises(ValueError, match=message):
        gather(task, CLIP, 0.5, **{**nothing, **given})
