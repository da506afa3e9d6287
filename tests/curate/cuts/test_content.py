from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from avctl.curate.cuts.content import ContentCuts
from avctl.schema import Content


def changes(frames: np.ndarray, threshold: float = 27.0) -> list[list[int]]:
    cuts = ContentCuts(Content(threshold=threshold))
    for frame in frames:
        cuts.add(frame)
    return cuts.changes().tolist()


def test_a_hard_cut_is_where_the_next_shot_begins(scene: Callable[..., np.ndarray]):
    frames = np.concatenate([scene(1, 12), scene(2, 9), scene(3, 2), scene(4, 12)])
    assert changes(frames) == [[12, 12], [21, 21], [23, 23]]


def test_the_threshold_decides(scene: Callable[..., np.ndarray]):
    frames = np.concatenate([scene(1, 12), scene(2, 9)])
    assert changes(frames, threshold=200.0) == []
    assert changes(scene(1, 12), threshold=0.01)


def test_colours_are_not_swapped():
    """Red against blue: hue is what differs, and it is not symmetric in the two."""
    frames = np.zeros((2, 9, 16, 3), np.uint8)
    frames[0], frames[1] = (255, 0, 0), (255, 90, 0)  # hues 0 and 10 of 180; swapped, 120 and 110
    assert changes(frames, threshold=3.0) == [[1, 1]]


@pytest.mark.parametrize(("height", "width", "expected"), [(720, 1280, (144, 256)), (96, 128, (96, 128))])
def test_large_frames_are_seen_small_and_small_ones_as_they_are(height: int, width: int, expected: tuple[int, int]):
    assert ContentCuts(Content()).size(height, width) == expected


def test_nothing_seen_is_nothing_found():
    assert ContentCuts(Content()).changes().shape == (0, 2)
