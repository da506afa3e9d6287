"""An exported folder runs by itself, and the stage fails where ONNX and PyTorch disagree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from avctl import AVPipeline
from avctl.job import Job, StageError
from avctl.models import pretrained
from avctl.models.pretrained import WEIGHTS
from avctl.schema import Export, Recipe
from avctl.stages import export


def test_the_folder_holds_a_model_its_onnx_and_their_difference(tiny_export: Path) -> None:
    names = {path.name for path in tiny_export.iterdir()}
    assert names == {"config.json", "model.safetensors", "model.onnx", "parity.json"}
    errors = json.loads((tiny_export / "parity.json").read_text())
    assert len(errors) == 3 and max(errors.values()) <= 1e-5


def test_the_exported_weights_are_the_trained_ones(tiny: Recipe, tiny_train: Path, tiny_export: Path) -> None:
    exported, trained = pretrained.load(tiny_export), pretrained.trained(tiny, tiny_train, None)
    for name, weight in trained.generator.state_dict().items():
        assert torch.equal(exported.generator.state_dict()[name], weight)


def test_the_folder_makes_clips(tiny_export: Path) -> None:
    first, second = (AVPipeline.from_pretrained(tiny_export)("a red square", steps=2, seed=3) for _ in range(2))
    assert first.frames.shape == (8, 16, 16, 3) and np.array_equal(first.frames, second.frames)


def test_without_onnx_only_the_model_is_written(tiny: Recipe, tiny_train: Path, job: Callable[..., Job]) -> None:
    made = job(tiny.model_copy(update={"export": Export(onnx=False)}), train=tiny_train)
    export.run(made)
    assert {path.name for path in made.out.iterdir()} == {"config.json", WEIGHTS}


def test_equal_weights_are_exported_to_equal_bytes(
    tiny: Recipe, tiny_train: Path, tiny_export: Path, job: Callable[..., Job]
) -> None:
    made = job(tiny.model_copy(update={"export": Export(onnx=False)}), train=tiny_train)
    export.run(made)
    for name in ("config.json", WEIGHTS):
        assert (made.out / name).read_bytes() == (tiny_export / name).read_bytes()


@pytest.mark.slow
def test_a_difference_beyond_the_tolerance_fails_the_stage(
    tiny: Recipe, tiny_train: Path, tiny_export: Path, job: Callable[..., Job]
) -> None:
    runtime = tiny.runtime.model_copy(update={"attention": "flash"})  # of a GPU, and parity is judged without
    made = job(tiny.model_copy(update={"export": Export(tolerance=1e-12), "runtime": runtime}), train=tiny_train)
    with pytest.raises(StageError, match="ONNX differs from PyTorch by"):
        export.run(made)
    assert (made.out / "model.onnx").read_bytes() == (tiny_export / "model.onnx").read_bytes()
