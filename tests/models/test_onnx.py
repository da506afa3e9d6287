"""The exported transformer answers as PyTorch does, at lengths that it was not exported with; a difference is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avctl.models import pretrained
from avctl.models.generator import Generator
from avctl.models.onnx import example, relative_error

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture
def path(tiny_export: Path) -> Path:
    return tiny_export / "model.onnx"


@pytest.fixture
def model(tiny_export: Path) -> Generator:
    return pretrained.load(tiny_export).generator


def test_it_answers_as_pytorch_does_at_every_length(model: Generator, path: Path) -> None:
    errors = relative_error(model, path)
    assert set(errors) == {"trained length", "half the length", "twice the length"}
    assert max(errors.values()) < 1e-5


def test_batch_and_lengths_are_dynamic(model: Generator, path: Path) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shapes = {each.name: each.shape for each in session.get_inputs()}
    assert all(isinstance(shapes[name][0], str) for name in shapes)
    assert all(isinstance(shapes[name][1], str) for name in ("video", "audio", "given_video", "given_audio", "text"))
    inputs = {k: v.numpy() for k, v in zip(shapes, example(model, 5, 1.5), strict=True)}
    video, audio = session.run(None, inputs)
    assert video.shape == inputs["video"].shape and audio.shape == inputs["audio"].shape


def test_one_changed_weight_is_seen(model: Generator, path: Path) -> None:
    weight = model.transformer.get_parameter("single.0.streams.0.to_qkv.weight")
    weight[3, 5] += 0.05
    assert min(relative_error(model, path).values()) > 1e-5


def test_the_masks_matter_in_the_export_too(model: Generator, path: Path) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    inputs = {k: v.numpy() for k, v in zip(names, example(model, 2, 1.0), strict=True)}
    before = session.run(None, inputs)[0]
    after = session.run(None, inputs | {"given_video": np.ones_like(inputs["given_video"])})[0]
    assert np.abs(before - after).max() > 1e-3


def test_an_answer_that_is_no_number_is_an_error_that_is_no_number(model: Generator, path: Path) -> None:
    model.transformer.to_video.bias.fill_(float("nan"))  # the larger of two errors must not hide it
    assert all(np.isnan(error) for error in relative_error(model, path).values())


def test_examples_are_whole_tokens_of_any_length(model: Generator) -> None:
    for scale in (0.01, 0.3, 1.0, 2.7):
        video, audio, t, given_video, given_audio, *_ = example(model, 3, scale)
        assert video.shape[1] % 2 == audio.shape[1] % 2 == 0 and video.shape[1] >= 2
        assert given_video.shape == video.shape[:2] and given_audio.shape == audio.shape[:2] and t.shape == (3,)
        assert torch.equal(given_audio[:, 0], torch.tensor([0.0, 1.0, 0.0]))


def test_the_file_names_no_path_of_this_machine(path: Path) -> None:
    data = path.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in data and str(Path(torch.__file__).parent).encode() not in data
