"""Counters are zero whenever a launch finds them, and nobody else counts on them meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from avctl.kernels import adamw_ema, flow_loss
from avctl.kernels import counters as module
from avctl.kernels.adamw_ema import gradient_norm
from avctl.kernels.cases import CASES, Draw
from avctl.kernels.counters import counters

CPU = torch.device("cpu")


def losses(device: str = "cpu", rows: int = 300) -> Callable[[], Tensor]:
    case = CASES["flow_loss"]
    inputs = case.make(rows, 16, Draw(torch.float32, device, 0))
    return lambda: case.operation(*inputs.tensors, *inputs.rest)  # pyright: ignore[reportReturnType]


def test_launches_leave_them_as_they_were(interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = torch.zeros(5, dtype=torch.int32)
    for place in (flow_loss, adamw_ema):
        monkeypatch.setattr(place, "counters", lambda count, device: shared)
    loss, gradients = losses(), [torch.randn(40_000), torch.randn(3)]
    first, norm = loss(), gradient_norm(gradients)
    assert not shared.any()
    assert torch.equal(loss(), first) and torch.equal(gradient_norm(gradients), norm)
    assert not shared.any()


def test_nobody_is_given_what_somebody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """By turns for streams and for graphs; a graph that finds none fills its own, as nothing may be waited for."""
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(module, "_unused", {})
    monkeypatch.setattr(module, "AT_ONCE", 10)
    own = module._taken(4, CPU, is_captured=True)
    assert len(own) == 4 and not waited
    parts = [module._taken(count, CPU, is_captured=bool(count % 2)) for count in (6, 3, 1)]
    assert waited == [CPU] and [len(part) for part in parts] == [6, 3, 1]
    for number, part in enumerate(parts):
        part += 1 + number
    assert [part.unique().tolist() for part in parts] == [[1], [2], [3]]
    assert module._taken(2, CPU, is_captured=False).tolist() == [0, 0] and waited == [CPU, CPU]
    assert len(module._taken(11, CPU, is_captured=False)) == 11


def test_a_stream_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, zeros, streams = torch.device("cuda", 0), torch.zeros, iter([1, 1, 2, 1])
    monkeypatch.setattr(torch, "zeros", lambda *size, device, **options: zeros(*size, **options))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=next(streams)))
    monkeypatch.setattr(module, "_unused", {})
    monkeypatch.setattr(module, "_of_streams", {})
    first, again, other, more = (counters(count, gpu) for count in (3, 2, 3, 4))
    assert first is again and first.data_ptr() != other.data_ptr() != more.data_ptr() and len(more) == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU answers")
@pytest.mark.parametrize(("name", "passes", "expected"), [
    ("flow_mix", 1, 1), ("flow_loss", 1, 1), ("flow_loss", 2, 2), ("guided_euler_step", 1, 1), ("adamw_ema", 1, 2),
])  # fmt: skip
def test_as_many_launches_as_are_said(name: str, passes: int, expected: int) -> None:
    case = CASES[name]
    inputs = case.make(4_096, 256, Draw(torch.bfloat16, "cuda", 0))
    leaves = [x.requires_grad_(passes == 2) for x in inputs.tensors]

    def run() -> None:
        outputs = case.operation(*leaves, *inputs.rest)
        if passes == 2:
            assert isinstance(outputs, Tensor)
            torch.autograd.grad(outputs, leaves, upstream)

    upstream = torch.ones(2, device="cuda")
    run()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
        torch.cuda.synchronize()
    launched = [each.name for each in profile.events() or () if each.device_type.name == "CUDA"]
    assert len(launched) == expected, launched


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU answers")
def test_a_graph_counts_for_itself() -> None:
    loss = losses("cuda", 30_000)
    expected = loss()
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.graph(graph, stream=stream):
        made = loss()
    for _ in range(3):
        graph.replay()
        assert torch.equal(loss(), expected)
    torch.cuda.synchronize()
    assert torch.equal(made, expected)
