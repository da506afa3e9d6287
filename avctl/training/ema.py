"""Exponential moving average of the weights, in float32."""

from __future__ import annotations

import copy
from collections.abc import Mapping
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
        self.weights: dict[str, Tensor] = dict(self.model.named_parameters())

    def decay_at(self, step: int) -> float:
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """Average these weights; AdamW does so for its own (`avctl.kernels.adamw_ema`)."""
        averages = [self.weights[name] for name in weights]
        torch._foreach_lerp_(averages, list(weights.values()), 1 - self.decay_at(step))  # pyright: ignore[reportPrivateImportUsage]
