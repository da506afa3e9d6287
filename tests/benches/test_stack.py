"""All ways of a stack train the same weights on the same tokens, and references run where they are asked for."""

from __future__ import annotations

import sys

import pytest
import torch

from avctl.kernels.record import modules
from avctl.models.blocks import JointBlock
from avctl.models.packing import Grid
from avctl.schema import JointDiT
from benches import stack
from benches.device import Device
from benches.stack import Absent, Shape, Way

HERE = Device(torch.device("cpu"), torch.float32, 2**20)
SMALL = Shape("small", JointDiT(width=32, num_dual=1, num_single=1, heads=2), (Grid(2, 3, 2, 5),))


def test_everybody_has_a_row_of_the_operations_that_references_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    *ours, theirs = stack._race(SMALL, HERE, flops_s=1e12)
    assert [row.what for row in ours] == ["training, small: avctl", "training, small: references"]
    for row in ours:
        assert len(row.values) == stack.ROUNDS and row.details["tokens"] == 17
        seconds = 17 / row.median
        assert row.details["of_matmul"] == pytest.approx(row.details["flops"] / seconds / 1e12)
        assert row.details["attention"] == "sdpa (rule)"
        assert row.details["provider"] == row.what.split(": ")[1]
    assert ours[0].details["flops"] == ours[1].details["flops"]
    assert theirs.failure and "not installed" in theirs.failure and not theirs.values


def test_references_compute_the_same_loss_without_a_kernel() -> None:
    ours, theirs = (way for way in stack._ours(SMALL, HERE) if isinstance(way, Way))
    kept = [module.runs_triton for module in modules() if hasattr(module, "runs_triton")]
    with theirs.inside():
        assert not any(module.runs_triton(torch.empty(1)) for module in modules() if hasattr(module, "runs_triton"))
        outputs = theirs.forward()
    assert [module.runs_triton for module in modules() if hasattr(module, "runs_triton")] == kept
    assert all(torch.equal(a, b) and a.any() for a, b in zip(ours.forward(), outputs, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_who_has_other_weights_or_another_gradient_is_not_timed(dtype: torch.dtype) -> None:
    on = HERE._replace(dtype=dtype)
    gate = stack.Gate(SMALL, on)
    model, inputs = stack._model(SMALL, on)
    way = stack._way("one", model, inputs, on)
    assert gate.refusal(way) is None
    cut = way._replace(forward=lambda: (way.forward()[0], way.forward()[1].detach()))
    assert (gate.refusal(cut) or "").startswith("is not exact")
    with torch.no_grad():
        dict(model.named_parameters())["single.0.streams.0.to_hidden.weight"][:8] *= 1.5
    reason = gate.refusal(way) or ""
    assert reason.startswith("is not exact") and stack._admitted(way, gate) == Absent("one", reason)
    assert gate.refusal(way._replace(is_alike=False)) is None


def test_operations_of_products_and_of_attention_are_counted() -> None:
    """Of one more audio token: in both blocks its products, and its pairs with all others, forward and backward."""
    less, more = (next(stack._ours(SMALL._replace(clips=(Grid(2, 3, 2, sounds),)), HERE)).flops for sounds in (5, 6))
    D, pairs, (stream,) = 32, 2 * (stack.WORDS + 17) + 1, JointBlock(1, 32, 2, 4.0).streams
    products = sum(
        layer.weight.numel() for layer in (stream.to_qkv, stream.from_heads, stream.to_hidden, stream.from_hidden)
    )
    expected = 2 * (6 * products + (4 + 10) * pairs * D)
    assert expected < more - less < 1.2 * expected, "with embedding and output"


def test_clips_of_several_sizes_are_nothing_for_a_peer_that_takes_one() -> None:
    absent = stack._diffusers(SMALL._replace(clips=(Grid(1, 2, 2, 0), Grid(2, 2, 2, 3))), HERE)
    assert absent == Absent("diffusers LTX-2", "takes clips of one size")


def test_sizes_on_a_gpu_are_those_of_the_design() -> None:
    shapes = {shape.name: shape for shape in stack.shapes(HERE._replace(torch=torch.device("cuda")))}
    for name, tokens in {"4k tokens": 4_096, "16k tokens": 16_384, "16k tokens in 8 clips": 16_384}.items():
        assert sum(clip.pictures + clip.sounds + stack.WORDS for clip in shapes[name].clips) == tokens
