"""Which clips make up the batch of a step: a function of (seed, step), so resuming needs no state but the step."""

from __future__ import annotations

from functools import lru_cache

import torch

from avctl.compute.seed import seeded


class Order:
    """Endless epochs over `count` clips, each a permutation of its own; a batch may span two epochs."""

    def __init__(self, count: int, batch: int, seed: int):
        if count <= 0:
            raise ValueError("there are no clips to order")
        self.count, self.batch, self.seed = count, batch, seed
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def __call__(self, step: int) -> list[int]:
        """Indices of the clips of batch `step`, each once an epoch."""
        positions = range(step * self.batch, (step + 1) * self.batch)
        return [self._epoch(p // self.count)[p % self.count] for p in positions]

    def _permutation(self, epoch: int) -> list[int]:
        return torch.randperm(self.count, generator=seeded(self.seed, "order", epoch)).tolist()
