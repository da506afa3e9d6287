"""Transformer blocks with joint attention: every stream has weights of its own, attention spans them all.

A stream is a run of tokens that shares weights. A dual block holds one stream each for text, video and audio (Esser
et al. 2024); a single block holds one for the joined sequence. Modulation is indexed per token group (adaLN-Zero,
Peebles and Xie 2023): each token is shifted, scaled and gated by the row of its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from avctl.models.attention import attention
from avctl.models.rope import rotate


class Groups(NamedTuple):
    """What modulates a stream: a condition a group, and which group each token belongs to."""

    cond: Tensor  # B G D
    member: Tensor  # B S G, one-hot: a matrix product is far cheaper to differentiate than a gather


class JointBlock(nn.Module):
    """Attention over all streams at once, then an MLP in each."""

    def __init__(self, num_streams: int, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        streams = nn.ModuleList(Stream(width, heads, mlp_ratio) for _ in range(num_streams))
        self.streams = cast(Sequence[Stream], streams)

    def forward(self, xs: Sequence[Tensor], groups: Sequence[Groups], cos_sin: Tensor) -> list[Tensor]:
        """xs, one a stream, each (B, S_i, D); cos_sin (2, S, K/2) over the joined sequence."""
        modulations = [stream.modulation(g) for stream, g in zip(self.streams, groups, strict=True)]
        parts = [stream.qkv(x, m) for stream, x, m in zip(self.streams, xs, modulations, strict=True)]
        qk, v = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))  # B S 2 N K, B S N K
        q, k = rotate(qk, cos_sin).unbind(2)
        heads = attention(q, k, v).flatten(2).split([x.shape[1] for x in xs], dim=1)  # each B S_i D
        return [s.update(x, h, m) for s, x, h, m in zip(self.streams, xs, heads, modulations, strict=True)]


class Stream(nn.Module):
    """The weights of one stream in one block."""

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.heads = heads
        hidden = round(mlp_ratio * 2 / 3 * width / 16) * 16  # SwiGLU has three matrices where an MLP has two
        self.modulate = nn.Linear(width, 6 * width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.qk_scale = nn.Parameter(torch.full((2, 1, width // heads), 1.2))
        self.from_heads = nn.Linear(width, width, bias=False)
        self.to_hidden = nn.Linear(width, 2 * hidden, bias=False)
        self.from_hidden = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        self.modulate.bias.data.unflatten(0, (6, -1))[[1, 4]] = 1.0  # scales start at one

    def modulation(self, groups: Groups) -> tuple[Tensor, ...]:
        """Shift, scale and gate of attention and of the MLP, each (B, S, D)."""
        return (groups.member @ self.modulate(groups.cond)).chunk(6, dim=-1)

    def qkv(self, x: Tensor, modulation: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """x (B, S, D) -> normalised queries and keys (B, S, 2, N, K), values (B, S, N, K)."""
        shift, scale, *_ = modulation
        qkv = self.to_qkv(modulated(x, shift, scale)).unflatten(-1, (3, self.heads, -1))
        return rms_normalize(qkv[:, :, :2]) * self.qk_scale.to(qkv.dtype), qkv[:, :, 2]

    def update(self, x: Tensor, heads: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        """The residual stream x (B, S, D) after attention output heads (B, S, D) and the MLP."""
        _, _, gate, mlp_shift, mlp_scale, mlp_gate = modulation
        x = x + gate * self.from_heads(heads)
        up, opening = self.to_hidden(modulated(x, mlp_shift, mlp_scale)).chunk(2, dim=-1)
        return x + mlp_gate * self.from_hidden(up * silu(opening))


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """shift + normalize(x) * scale, in the number format of the modulation."""
    return torch.addcmul(shift, normalize(x).to(shift.dtype), scale)


def normalize(x: Tensor) -> Tensor:
    """LayerNorm without weights over the last axis."""
    return layer_norm(x, x.shape[-1:], eps=1e-6)


def rms_normalize(x: Tensor) -> Tensor:
    """x / rms(x) over the last axis (Zhang and Sennrich 2019)."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
