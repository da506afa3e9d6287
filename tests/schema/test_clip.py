from __future__ import annotations

from collections.abc import Callable

import pytest

from avctl.schema import Clip

Refusal = Callable[[Callable[[], object]], str]


def test_every_number_follows_from_one_clock():
    clip = Clip(seconds=2.5, size=(64, 96), fps=16, sample_rate=16_000)
    assert (clip.frames, clip.samples) == (40, 40_000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 1.03}, "`Clip.seconds`: 1.03 s at 24 fps is not a whole number of frames"),
        ({"sample_rate": 16_000}, "`Clip.sample_rate`: 16000 Hz does not divide into 24 frames"),
        ({"sample_rate": 20_016}, "`Clip.sample_rate`: AAC, the sound of an mp4, has no 20016 Hz"),
        ({"size": (63, 64)}, "`Clip.size`: (63, 64) must be even"),
        ({"size": (8, 64)}, "`Clip.size`: (8, 64) must be even and at least 16"),
        ({"channels": 3}, "`Clip.channels` must be at most 2"),
        ({"seconds": 0.0}, "`Clip.seconds` must be greater than 0"),
    ],
)
def test_a_clip_that_no_clock_can_keep_is_refused(refusal: Refusal, changes: dict, message: str):
    assert refusal(lambda: Clip(**{"seconds": 1.0, "size": (64, 64), **changes})).startswith(message)
