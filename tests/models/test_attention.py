"""Attention by its formula, in the precision that is promised."""

from __future__ import annotations

import torch

from avctl.models.attention import attention


def inputs() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 7, 3, 16, generator=generator) for _ in range(3)]


def by_formula(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    weights = torch.einsum("bsnk,btnk->bnst", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("bnst,btnk->bsnk", weights.softmax(-1), v)


def test_it_is_softmax_of_scaled_scores() -> None:
    q, k, v = inputs()
    assert torch.allclose(attention(q, k, v), by_formula(q, k, v), atol=1e-6)


def test_16_bit_inputs_are_widened_on_a_cpu() -> None:
    q, k, v = (x.bfloat16() for x in inputs())
    expected = by_formula(q.float(), k.float(), v.float())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attention(q, k, v)
    assert mixed.dtype == torch.bfloat16
    assert torch.equal(mixed, expected.bfloat16()) or (mixed.float() - expected).abs().max() < 2**-8


def test_mixed_types_are_told_by_the_values() -> None:
    q, k, v = inputs()
    assert attention(q, k, v.bfloat16()).dtype == torch.bfloat16
