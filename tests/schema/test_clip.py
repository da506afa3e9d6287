from __future__ import annotations

from collections.abc import Callable

import pytest

from avctl.schema import Clip

Refusal = Callable[[Callable[[], object]], str]


def test_every_number_follows_from_one_clock():
    clip = Clip(seconds=2.5, size=(64, 96), fps=16, sample_rate=16_000)
    assert (clip.frames, clip.samples) == (40, 40_000)


def test_buckets_are_every_size_with_every_length_and_the_main_one_is_first():
    clip = Clip(seconds=2.0, size=(64, 96), other_seconds=(1.0,), other_sizes=((96, 64),))
    assert [(bucket.seconds, bucket.size) for bucket in clip.buckets] == [
        (2.0, (64, 96)),
        (1.0, (64, 96)),
        (2.0, (96, 64)),
        (1.0, (96, 64)),
    ]
    assert clip.buckets[1] == Clip(seconds=1.0, size=(64, 96))
    assert clip.buckets[1].frames == 24 and clip.buckets[1].buckets == (clip.buckets[1],)


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
        ({"other_seconds": (0.51,)}, "`Clip.other_seconds`: 0.51 s at 24 fps is not a whole number of frames"),
        ({"other_seconds": (1.0,)}, "`Clip.other_seconds`: lengths besides `seconds` are shorter than its 1.0 s"),
        ({"other_seconds": (-0.5,)}, "`Clip.other_seconds`: lengths besides"),
        ({"other_seconds": (0.5, 0.5)}, "`Clip.other_seconds`: each stands once"),
        ({"other_sizes": ((64, 65),)}, "`Clip.other_sizes`: (64, 65) must be even"),
        ({"other_sizes": ((64, 64),)}, "`Clip.other_sizes`: each stands once"),
    ],
)
def test_a_clip_that_no_clock_can_keep_is_refused(refusal: Refusal, changes: dict, message: str):
    assert refusal(lambda: Clip(**{"seconds": 1.0, "size": (64, 64), **changes})).startswith(message)


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        ((720, 1280), (64, 112)),  # the same shape, and not enlarged
        ((50, 88), (32, 56)),  # it would be enlarged to the larger one
        ((20, 35), (32, 56)),  # smaller than all: the smallest
        ((1280, 720), (112, 64)),
        ((480, 480), (64, 64)),
        ((480, 600), (64, 64)),  # 5:4 is nearer to a square than to 7:4
    ],
)
def test_a_source_goes_to_the_size_nearest_to_its_shape(picture: tuple[int, int], size: tuple[int, int]):
    clip = Clip(seconds=2.0, size=(64, 64), other_sizes=((64, 112), (112, 64), (32, 56)), other_seconds=(1.0,))
    assert clip.bucket(picture, 1.0) == Clip(seconds=1.0, size=size)
    assert clip.bucket(picture, 2.0) == Clip(seconds=2.0, size=size)


def test_lengths_come_longest_first():
    assert Clip(seconds=3.0, size=(32, 32), other_seconds=(1.0, 2.0)).lengths_s == (3.0, 2.0, 1.0)
