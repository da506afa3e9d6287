"""Norms of rows on the chip, and how rows are dealt out to programs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from avctl.kernels import rows
from avctl.kernels.dispatch import tl, triton
from avctl.kernels.rows import (
    EPS,
    by_rows,
    check_formats,
    check_one_a_token,
    check_rows,
    launch,
    means,
    normal,
    normal_backward,
    refuse_gradients,
    rms_normalize,
)  # fmt: skip


@triton.jit
def _norm_there_and_back(x_ptr, dn_ptr, n_ptr, dx_ptr, D, eps, LAYER: tl.constexpr, BLOCK: tl.constexpr):
    channel = tl.arange(0, BLOCK)[None, :]
    ok = channel < D
    n, _, factor = normal(tl.load(x_ptr + channel, mask=ok, other=0.0), ok, D, eps, LAYER)  # pyright: ignore[reportGeneralTypeIssues]
    dn = tl.load(dn_ptr + channel, mask=ok, other=0.0)
    tl.store(n_ptr + channel, n, mask=ok)
    along, mean = means(dn, n, D, LAYER)  # pyright: ignore[reportGeneralTypeIssues]
    tl.store(dx_ptr + channel, normal_backward(dn, n, factor, along, mean), mask=ok)


@pytest.mark.parametrize("is_layer", [True, False])
@pytest.mark.parametrize("width", [1, 7, 32])
def test_a_norm_and_its_gradient_follow_their_formulas(
    width: int, is_layer: bool, interpreted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("normal", "means", "normal_backward"):  # what `interpreted` put in their place
        monkeypatch.setitem(globals(), name, getattr(rows, name))
    kernel = InterpretedFunction(_norm_there_and_back.fn)
    x, dn = torch.randn(2, width, generator=torch.Generator().manual_seed(width)).unbind()
    n, dx = torch.full((2, width), torch.nan).unbind()
    kernel[(1,)](x, dn, n, dx, width, EPS, LAYER=is_layer, BLOCK=32)
    exact = x.double().requires_grad_()
    centred = exact - exact.mean() if is_layer else exact
    expected = centred * (centred.square().mean() + EPS).rsqrt()
    assert torch.allclose(n.double(), expected, atol=1e-5)
    assert torch.allclose(dx.double(), torch.autograd.grad(expected, exact, dn.double())[0], atol=1e-4, rtol=1e-4)


def test_the_root_of_the_mean_square_becomes_one() -> None:
    x = 3 * torch.randn(5, 40, dtype=torch.float64)
    assert torch.allclose(rms_normalize(x).square().mean(-1), torch.ones(5, dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize("width", [1, 48, 160, 512, 2_048, 3_072, 6_144, 20_000])
def test_a_program_takes_several_narrow_rows_or_one_wide_one(width: int) -> None:
    block = launch(width)
    assert width <= block["BLOCK"] < 2 * width and block["BLOCK"] & (block["BLOCK"] - 1) == 0
    assert block["ROWS"] * block["BLOCK"] >= 2_048 and (block["ROWS"] == 1 or block["ROWS"] * block["BLOCK"] == 2_048)
    assert 1 <= block["num_warps"] <= 16


def test_only_channels_that_are_apart_are_copied() -> None:
    x = torch.randn(6, 8)
    assert by_rows(x[::2, :4]).data_ptr() == x.data_ptr()
    assert by_rows(x.T).is_contiguous() and torch.equal(by_rows(x.T), x.T)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"x": torch.zeros(2, 3), "y": torch.zeros(2, 4)}, r"'x': \(2, 3\), 'y': \(2, 4\)"),
        ({"x": torch.zeros(2)}, r"'x': \(2,\)"),
        ({"x": torch.zeros(2, 3), "y": torch.zeros(2, 3, device="meta")}, "x, y are on different devices"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(found: dict[str, Tensor], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_rows(found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_with_a_point_pass_and_integers_do_not(dtype: torch.dtype) -> None:
    check_formats(x=torch.zeros(1, dtype=dtype))
    with pytest.raises(ValueError, match=r"y is of torch\.int64"):
        check_formats(x=torch.zeros(1, dtype=dtype), y=torch.zeros(1, dtype=torch.int64))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (torch.zeros(2), r"given \(2,\): one a token is needed, \(3,\)"),
        (torch.zeros(3, 1), r"given \(3, 1\): one a token is needed"),
        (torch.zeros(3).bool(), "given is of torch.bool"),
        (torch.zeros(3, device="meta"), "given, tokens are on different devices"),
    ],
)
def test_values_of_tokens_are_one_each(given: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_one_a_token(torch.zeros(3, 4), given=given)


def test_a_gradient_that_would_be_lost_is_refused_where_there_would_be_one() -> None:
    x = torch.zeros(1, requires_grad=True)
    with pytest.raises(ValueError, match="x requires a gradient"):
        refuse_gradients(x=x)
    with torch.no_grad():
        refuse_gradients(x=x)
