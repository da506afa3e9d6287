"""The kernels of gradients, called as the operator calls them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avctl.kernels import av_window_attention, av_window_tiles, windows
from avctl.kernels.av_window_attention import av_window_attention_reference
from avctl.kernels.av_window_backward import launch
from avctl.kernels.av_window_tiles import Cut, Cuts
from avctl.kernels.windows import BlockMap, Windows, block_map
from tests.kernels.test_windows import NEAR, tokens

SCALE = 0.3


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "BLOCK", 32)
    monkeypatch.setattr(av_window_tiles, "CUTS_FLOAT32", Cuts(*[Cut(2, 2, 4, 1)] * 3))


def case(windows: Windows) -> tuple[list[Tensor], BlockMap]:
    """dout, q, k and v (S, N, K)."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(47, 2, 16, generator=generator) for _ in range(4)], block_map(*tokens((30, 17)), windows)


def run(dout: Tensor, q: Tensor, k: Tensor, v: Tensor, map: BlockMap) -> tuple[Tensor, ...]:
    out, lse = av_window_attention._launch(q, k, v, map, SCALE)
    return launch(dout, out, lse, q, k, v, map, SCALE)


def test_gradients_are_those_of_the_reference_and_the_same_in_every_run(interpreted: None, guarded: None) -> None:
    (dout, *qkv), map = case(NEAR)
    made = run(dout, *qkv, map=map)
    leaves = [x.double().requires_grad_() for x in qkv]
    expected = torch.autograd.grad(av_window_attention_reference(*leaves, map=map, scale=SCALE), leaves, dout.double())
    assert all(torch.allclose(a.double(), b, atol=1e-5) for a, b in zip(made, expected, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(made, run(dout, *qkv, map=map), strict=True))


def test_gradients_upstream_may_be_one_number_everywhere(interpreted: None) -> None:
    """As those of a sum are: of strides of zero."""
    (_, *qkv), map = case(NEAR)
    made = run(torch.ones(47, 2, 16), *qkv, map=map)
    leaves = [x.clone().requires_grad_() for x in qkv]
    expected = torch.autograd.grad(av_window_attention.av_window_attention(*leaves, map=map, scale=SCALE).sum(), leaves)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(made, expected, strict=True))


def test_keys_that_nobody_looks_at_get_none(interpreted: None) -> None:
    (dout, *qkv), map = case(Windows(((-1.0,) * 3,) * 3))
    assert not any(gradient.any() for gradient in run(dout, *qkv, map=map))
