"""Exponential moving average of the weights, in float32."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EMA:
    """e <- d e + (1 - d) w, with d = min(decay, (1 + step) / (10 + step)): early weights are soon forgotten."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
