"""The transformer on kernels, in the interpreter, is the transformer on references; it compiles whole on both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from avctl.models.joint_dit import JointTransformer
from avctl.models.latents import Tracks
from avctl.models.packing import Clock, Grid, pack
from avctl.schema import JointDiT

SPEC = JointDiT(width=24, num_dual=1, num_single=1, heads=3)
CLIPS = (Grid(2, 2, 3, 2), Grid(1, 3, 1, 0), Grid(2, 2, 3, 2))  # an image between two clips


@pytest.fixture
def model() -> JointTransformer:
    torch.manual_seed(0)
    model = JointTransformer(SPEC, (16, 15))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def answer(model: Callable[..., Tracks]) -> Tracks:
    """Of the last clip all sound and the first picture are given."""
    generator = torch.Generator().manual_seed(1)
    shapes = (27, 16), (4, 15), (3, 5, 24), (3, 24)
    video, audio, text, pooled = (torch.randn(shape, generator=generator) for shape in shapes)
    given = Tracks(torch.zeros(27), torch.zeros(4))
    given.video[15:21] = given.audio[2:] = 1
    packing = pack(CLIPS, 5, Clock((0.25, 0.25), (0.0, 0.0)))
    return model(Tracks(video, audio), torch.tensor([0.2, 0.7, 0.5]), given, text, pooled, packing)


def with_gradients(model: JointTransformer, run: Callable[..., Tracks] | None = None) -> list[Tensor]:
    outputs = answer(model if run is None else run)
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


@pytest.mark.parametrize("on_kernels", [True, False])
def test_it_compiles_whole(model: JointTransformer, on_kernels: bool, request: pytest.FixtureRequest) -> None:
    if on_kernels:
        request.getfixturevalue("interpreted")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for a, b in zip(with_gradients(model, compiled), with_gradients(model), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))
