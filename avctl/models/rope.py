"""Rotary positions on one clock: time in seconds, and a place for video tokens.

Half the pairs of a head's channels would waste most of a short clip on place, so three quarters turn with time and
one eighth each with y and x (RoFormer, Su et al. 2021; one scale of seconds for sound and picture as in MMAudio,
Cheng et al. 2024). Audio and text tokens stand at y = x = 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

SLOWEST, FASTEST = 0.7, 25.0  # radians a second: a turn in 9 s, a turn in 0.25 s
COARSEST, FINEST = 0.2, 2.0  # radians a latent row or column


def rotation(positions: Tensor, head_width: int) -> Tensor:
    """positions (..., S, 3) of (seconds, y, x) -> cosines and sines (2, ..., S, K/2)."""
    pairs = head_width // 2
    place = pairs // 8
    turns = torch.cat(
        [
            positions[..., :1] * _geometric(SLOWEST, FASTEST, pairs - 2 * place, positions),
            positions[..., 1:2] * _geometric(COARSEST, FINEST, place, positions),
            positions[..., 2:] * _geometric(COARSEST, FINEST, place, positions),
        ],
        dim=-1,
    )
    return torch.stack([turns.cos(), turns.sin()])


def rotate(x: Tensor, cos_sin: Tensor) -> Tensor:
    """x (B, S, ..., K) turned by cosines and sines (2, S, K/2), broadcast over the axes between."""
    between = (1,) * (x.ndim - 3)
    cos, sin = cos_sin.unflatten(1, (-1, *between)).to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _geometric(first: float, last: float, count: int, like: Tensor) -> Tensor:
    exponents = torch.linspace(0, 1, count, device=like.device, dtype=like.dtype)
    return first * (last / first) ** exponents
