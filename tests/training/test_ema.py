"""The average is the formula, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from avctl.training.ema import EMA


def moved(model: nn.Module, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))


def average(ema: EMA) -> torch.Tensor:
    """The average of the only weight, or of the first one."""
    return next(ema.model.parameters())


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.99])
def test_every_update_is_the_formula_to_the_bit(decay: float) -> None:
    model = nn.Linear(40, 30)
    ema = EMA(model, decay)
    expected = model.weight.detach().numpy().copy()
    for step in range(12):
        moved(model, step)
        ema.update(dict(model.named_parameters()), step)
        now = model.weight.detach().numpy()
        keep = min(decay, (1 + step) / (10 + step))
        # e + (1 - d) (w - e) and w - d (w - e) are one number; rounded, the one with the smaller factor is exact
        change = now - expected
        fused = expected.astype(np.float64), now.astype(np.float64), change.astype(np.float64)
        share = np.float32(1 - keep)
        if share < 0.5:
            expected = (fused[0] + np.float64(share) * fused[2]).astype(np.float32)
        else:
            expected = (fused[1] - np.float64(np.float32(1) - share) * fused[2]).astype(np.float32)
        assert np.array_equal(average(ema).numpy(), expected)


def test_early_weights_are_soon_forgotten() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1_000.0)
    ema = EMA(model, 0.999)
    nn.init.constant_(model.weight, 1.0)
    for step in range(100):
        ema.update(dict(model.named_parameters()), step)
    assert abs(average(ema).item() - 1.0) < 1e-3


def test_the_average_is_a_frozen_copy_in_eval_mode() -> None:
    linear = nn.Linear(2, 2)
    model = nn.Sequential(linear, nn.Dropout())
    ema = EMA(model, 0.9)
    assert not ema.model.training and not any(p.requires_grad for p in ema.model.parameters())
    before = linear.weight.detach().clone()
    ema.update(dict(nn.Sequential(nn.Linear(2, 2)).named_parameters()), 0)
    assert torch.equal(linear.weight, before) and model.training
