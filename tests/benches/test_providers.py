"""Everybody has a row: who computes, or why not."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from avctl.kernels.cases import CASES, Draw, Inputs
from avctl.kernels.exact import judge
from benches.providers import LIBRARIES, PEERS, Absent, Provider, providers


@pytest.mark.parametrize("name", CASES)
def test_avctl_its_reference_and_every_library_are_named(name: str) -> None:
    case = CASES[name]
    found = list(providers(case, case.make(8, 16, Draw(torch.float32, "cpu", 0))))
    of_pytorch = ["fused", "foreach"] if name == "adamw_ema" else []
    assert [each.name for each in found] == ["avctl", "eager", "compile", *LIBRARIES, *of_pytorch]
    others = {"adamw_ema": "torch._fused_adamw_", "av_window_attention": "processor"}
    assert isinstance(found[0], Provider) and found[0].backend == others.get(name, "reference")
    for each in found[3:]:
        if isinstance(each, Absent):
            has_peer = each.name in PEERS.get(name, {})
            assert each.reason.startswith("does not import: ") if has_peer else each.reason == "has no such operation"


def test_peers_are_of_cases_that_there_are() -> None:
    assert PEERS.keys() <= CASES.keys()


@pytest.mark.parametrize("count", [5, 6])
@pytest.mark.parametrize("name", ["fused", "foreach"])
def test_optimizers_of_pytorch_take_the_same_step_with_a_copy_and_without(name: str, count: int) -> None:
    case = CASES["adamw_ema"]
    inputs = Inputs(case.make(8, 16, Draw(torch.float32, "cpu", 0)).tensors[:count])
    (peer,) = (each for each in providers(case, inputs) if each.name == name)
    assert isinstance(peer, Provider)
    expected = case.reference(*(x.clone() for x in inputs.tensors))
    own = peer.prepare(inputs)
    made = peer.operation(*(x.clone() for x in own.tensors), *own.rest)
    assert len(made) == len(expected) == count - 1
    for a, b in zip(made, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6, rtol=torch.finfo(b.dtype).eps)


def test_a_library_that_is_not_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIBRARIES, "liger", "no_such_library")
    case = CASES["norm_modulate"]
    absent = list(providers(case, case.make(8, 16, Draw(torch.float32, "cpu", 0))))[3]
    assert absent == Absent("liger", "does not import: ModuleNotFoundError: No module named 'no_such_library'")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU answers")
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", CASES)
def test_every_peer_that_is_installed_is_exact(name: str, library: str) -> None:
    if importlib.util.find_spec(LIBRARIES[library].partition(".")[0]) is None:
        pytest.skip(f"{library} is not installed")
    case = CASES[name]
    inputs = case.make(256, 512, Draw(torch.bfloat16, "cuda", 0))
    (peer,) = (each for each in providers(case, inputs) if each.name == library)
    if isinstance(peer, Absent):
        pytest.skip(f"{library} {peer.reason}")
    own = peer.prepare(inputs)
    errors = judge(
        lambda *tensors: peer.operation(*tensors, *own.rest),
        lambda *tensors: case.reference(*tensors, *inputs.rest),
        inputs.tensors,
        own=own.tensors,
    )
    assert errors.are_allowed, errors
