"""Exponential moving average of the weights, in float32."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class EMA(Generic[M]):
    """e <- d e + (1 - d) w, with d = min(decay, (1 + step) / (10 + step)): early weights are soon forgotten."""

    def __init__(self, model: M, decay: float):
        self.decay = decay
        self.model = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        averages: list[Tensor] = list(self.model.parameters())
        weights: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
