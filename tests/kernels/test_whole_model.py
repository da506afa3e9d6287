"""The transformer on kernels, in the interpreter, is the transformer on references; it compiles whole on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from avctl.models.joint_dit import JointTransformer
from avctl.models.latents import Tracks
from avctl.models.packing import Clock, Grid, pack
from avctl.schema import JointDiT

SPEC = JointDiT(width=24, num_dual=1, num_single=1, heads=3)
CLIPS = (Grid(2, 2, 3, 2), Grid(1, 3, 1, 0), Grid(2, 2, 3, 2))  # an image between two clips
FEW = (Grid(1, 1, 1, 0), Grid(1, 2, 1, 1))


@pytest.fixture
def model() -> JointTransformer:
    torch.manual_seed(0)
    model = JointTransformer(SPEC, (16, 15))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def answer(model: Callable[..., Tracks], clips: Sequence[Grid]) -> Tracks:
    """Of the last clip all sound and the first picture are given."""
    generator = torch.Generator().manual_seed(1)
    V, A, last = sum(clip.pictures for clip in clips), sum(clip.sounds for clip in clips), clips[-1]
    shapes = (V, 16), (A, 15), (len(clips), 5, 24), (len(clips), 24)
    video, audio, text, pooled = (torch.randn(shape, generator=generator) for shape in shapes)
    given = Tracks(torch.zeros(V), torch.zeros(A))
    begin = V - last.pictures
    given.video[begin : begin + last.rows * last.columns] = given.audio[A - last.sounds :] = 1
    packing = pack(clips, 5, Clock((0.25, 0.25), (0.0, 0.0)))
    return model(Tracks(video, audio), torch.tensor([0.2, 0.7, 0.5])[: len(clips)], given, text, pooled, packing)


def with_gradients(
    model: JointTransformer, run: Callable[..., Tracks] | None = None, clips: Sequence[Grid] = CLIPS
) -> list[Tensor]:
    outputs = answer(model if run is None else run, clips)
    loss = sum((x * torch.linspace(-1, 1, x.numel()).view_as(x)).sum() for x in outputs)
    assert isinstance(loss, Tensor)
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    gradients = [torch.zeros(()) if gradient is None else gradient for gradient in gradients]
    return [*(x.detach() for x in outputs), *gradients]


def test_kernels_and_references_make_one_model(model: JointTransformer, request: pytest.FixtureRequest) -> None:
    expected = with_gradients(model)
    request.getfixturevalue("interpreted")
    for a, b in zip(with_gradients(model), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


def test_under_autocast_kernels_are_as_near_to_float32_as_references_are(
    model: JointTransformer, request: pytest.FixtureRequest
) -> None:
    """Both round what goes from one operation to the next to 2^-9 of it. The few dozen roundings that a number has
    behind it add up as their root, wherever they are: neither is farther from float32 than the other by more than a
    half, and they are within four units in the last place of each other. Norms are compared: single numbers may be
    small differences of large ones."""

    def run(*inputs: Any) -> Tracks:
        with torch.autocast("cpu", torch.bfloat16):
            return model(*inputs)

    exact, expected = with_gradients(model), with_gradients(model, run)
    request.getfixturevalue("interpreted")
    for a, b, c in zip(with_gradients(model, run), expected, exact, strict=True):
        assert a.dtype == b.dtype
        assert (a - c).norm() <= 1.5 * (b - c).norm()
        assert (a.float() - b.float()).norm() <= 4 * torch.finfo(torch.bfloat16).eps * b.float().norm()


@pytest.mark.parametrize("on_kernels", [True, False])
def test_it_compiles_whole(model: JointTransformer, on_kernels: bool, request: pytest.FixtureRequest) -> None:
    if on_kernels:
        request.getfixturevalue("interpreted")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for a, b in zip(with_gradients(model, compiled, FEW), with_gradients(model, clips=FEW), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))
