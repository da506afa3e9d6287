from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations

import av
import cv2
import numpy as np
import pytest

from avctl.curate.phash import distance, phash

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def lumas(scene: Callable[..., np.ndarray]) -> list[np.ndarray]:
    """Twelve unlike frames with texture."""
    noise = np.random.default_rng(0).normal(0, 8, (180, 320))
    greys = [cv2.cvtColor(scene(seed, 1, (180, 320))[0], cv2.COLOR_RGB2GRAY) for seed in range(12)]
    return [(grey + noise).clip(0, 255).astype(np.uint8) for grey in greys]


def encoded(luma: np.ndarray) -> np.ndarray:
    """Through H.264 at a low rate."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "38", "preset": "ultrafast"})
        stream.height, stream.width = luma.shape
        file.mux(stream.encode(av.VideoFrame.from_ndarray(luma, format="gray").reformat(format="yuv420p")))
        file.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as file:
        return next(file.decode(video=0)).to_ndarray(format="gray")


def scaled(luma: np.ndarray) -> np.ndarray:
    return cv2.resize(luma, (214, 120), interpolation=cv2.INTER_LINEAR)


def brighter(luma: np.ndarray) -> np.ndarray:
    return (luma * 0.8 + 40).astype(np.uint8)


@pytest.mark.parametrize("change", [encoded, scaled, brighter])
def test_the_same_frame_in_another_form_differs_in_a_few_bits(lumas: list[np.ndarray], change: Change):
    assert max(distance(phash(luma), phash(change(luma))) for luma in lumas) <= 6


def test_other_frames_differ_in_many_bits(lumas: list[np.ndarray]):
    found = [distance(phash(a), phash(b)) for a, b in combinations(lumas, 2)]
    assert min(found) >= 14
    assert 28 <= np.mean(found) <= 36


def test_a_mirrored_frame_is_another(lumas: list[np.ndarray]):
    assert min(distance(phash(luma), phash(np.fliplr(luma))) for luma in lumas) >= 14


def test_a_hash_is_sixteen_hex_digits(lumas: list[np.ndarray]):
    assert [len(phash(luma)) for luma in lumas] == [16] * len(lumas)
    assert distance("ffffffffffffffff", "0000000000000000") == 64
    assert distance("8000000000000001", "8000000000000000") == 1
