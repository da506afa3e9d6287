"""Rotary positions on one clock: time in seconds, and a place for video tokens.

Half the pairs of a head's channels would waste most of a short clip on place, so three quarters turn with time and
one eighth each with y and x (RoFormer, Su et al. 2021; one scale of seconds for sound and picture as in MMAudio,
Cheng et al. 2024). Audio and text tokens stand at y = x = 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avctl.kernels import qk_norm_rope
from avctl.kernels.qk_norm_rope import Rotation

SLOWEST, FASTEST = 0.7, 25.0  # radians a second: a turn in 9 s, a turn in 0.25 s
COARSEST, FINEST = 0.2, 2.0  # radians a latent row or column


def rotation(positions: Tensor, place: Tensor, head_width: int) -> Rotation:
    """positions (P,) that occur, in seconds or in rows and columns; place (S, 3), the one of each token on t, y, x."""
    pairs = head_width // 2
    across = pairs // 8
    along = pairs - 2 * across
    radians = [
        _geometric(SLOWEST, FASTEST, along, positions),
        _geometric(COARSEST, FINEST, across, positions),
        _geometric(COARSEST, FINEST, across, positions),
    ]
    return qk_norm_rope.rotation(positions[:, None] * torch.cat(radians), place, (along, across))


def _geometric(first: float, last: float, count: int, like: Tensor) -> Tensor:
    exponents = torch.linspace(0, 1, count, device=like.device, dtype=like.dtype)
    return first * (last / first) ** exponents
