"""Every frame is seen once, by every consumer at its own size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from avctl.curate.shots import between, laplacian_variance, watch
from avctl.media.decode import Media
from avctl.media.mux import write_mp4
from avctl.schema import Content, Refine, Shots, TransNet

Scene = Callable[..., np.ndarray]
FPS = 20


@pytest.fixture
def film(tmp_path: Path, scene: Scene) -> Path:
    """Three shots of 12, 20 and 8 frames."""
    frames = np.concatenate([scene(1, 12), scene(2, 20), scene(3, 8)])
    write_mp4(tmp_path / "a.mp4", frames, np.full((32_000, 1), 0.1, np.float32), FPS, 16_000)
    return tmp_path / "a.mp4"


@pytest.mark.parametrize("detector", [Content(), TransNet()], ids=lambda spec: spec.kind)
def test_cuts_of_a_real_file_are_found_where_they_are(film: Path, detector: Content | TransNet) -> None:
    with Media(film) as media:
        seen = watch(media.scan(), Shots(detector=detector))
        assert seen.times.tolist() == media.scanned.times == pytest.approx(np.arange(40) / FPS)
    assert seen.shots.tolist() == [[0, 12], [12, 32], [32, 40]]
    assert seen.shots[1:, 0].tolist() == [12, 32]
    assert seen.cuts_s is not None and seen.cuts_s.tolist() == seen.times[[12, 32]].tolist()


def test_without_a_detector_a_source_is_one_shot(film: Path) -> None:
    with Media(film) as media:
        seen = watch(media.scan(), Shots(detector=None))
    assert seen.shots.tolist() == [[0, 40]]
    assert len(seen.sharpness) == 40


def test_refinement_splits_what_no_detector_did(tmp_path: Path, scene: Scene) -> None:
    frames = np.concatenate([scene(1, 40, (224, 224)), scene(2, 40, (224, 224), is_tiled=True)])
    write_mp4(tmp_path / "a.mp4", frames, np.full((64_000, 1), 0.1, np.float32), FPS, 16_000)
    with Media(tmp_path / "a.mp4") as media:
        seen = watch(media.scan(), Shots(detector=Content(threshold=255.0), refine=Refine()))
    (_, behind), (first, _) = seen.shots
    assert 30 <= behind <= 40 <= first <= 50


def test_no_frame_is_no_shot() -> None:
    assert watch([], Shots()).shots.shape == (0, 2)


def test_shots_lie_between_changes() -> None:
    assert between(np.array([[5, 5], [8, 11]]), 20).tolist() == [[0, 5], [5, 8], [11, 20]]
    assert between(np.array([[8, 11], [5, 5]]), 20).tolist() == [[0, 5], [5, 8], [11, 20]]
    assert between(np.array([[0, 3], [9, 12]]), 12).tolist() == [[3, 9]]  # it fades in, and out


def test_blur_lowers_sharpness() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    assert laplacian_variance(cv2.GaussianBlur(image, (5, 5), 2)) < 0.05 * laplacian_variance(image)
    assert laplacian_variance(image) == pytest.approx(float(cv2.Laplacian(image, cv2.CV_64F).var()))
