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

from avctl.kernels.attention import attention
from avctl.kernels.av_window_attention import av_window_attention
from avctl.kernels.gate_residual import gate_residual
from avctl.kernels.gate_residual_norm_modulate import gate_residual_norm_modulate
from avctl.kernels.groups import TokenGroups
from avctl.kernels.norm_modulate import norm_modulate
from avctl.kernels.qk_norm_rope import Rotation, qk_norm_rope
from avctl.kernels.segments import Segments
from avctl.kernels.swiglu import swiglu
from avctl.kernels.windows import BlockMap
from avctl.models.packing import Packing, reorder


class Groups(NamedTuple):
    """What modulates a stream: a condition a group, and which group each token belongs to."""

    cond: Tensor  # G D
    tokens: TokenGroups


class Joint(NamedTuple):
    """The joined row of whole clips, in which attention is: which stream each token is of, how it is turned, how the
    streams are joined, and what sees what."""

    clips: Segments
    streams: TokenGroups
    turns: Rotation
    packing: Packing | None  # None: one stream, which is the joined row
    windows: BlockMap | None  # None: every token sees all of its clip

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q, k, v (S, N, K) -> (S, N, K)."""
        if self.windows is None:
            return attention(q, k, v, self.clips)
        return av_window_attention(q, k, v, self.windows)


class JointBlock(nn.Module):
    """Attention over all streams at once, then an MLP in each."""

    def __init__(self, num_streams: int, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        streams = nn.ModuleList(Stream(width, heads, mlp_ratio) for _ in range(num_streams))
        self.streams = cast(Sequence[Stream], streams)

    def forward(self, xs: Sequence[Tensor], groups: Sequence[Groups], joint: Joint) -> list[Tensor]:
        """xs, the tokens of each stream, clip by clip: (S_i, D) each."""
        tables = [stream.modulation(g) for stream, g in zip(self.streams, groups, strict=True)]
        parts = [s.qkv(x, g, t) for s, x, g, t in zip(self.streams, xs, groups, tables, strict=True)]
        qk, v = _joined(parts, joint).split((2, 1), dim=1)  # S 2 N K, S 1 N K
        scale = torch.stack([stream.qk_scale for stream in self.streams])  # streams 2 K
        q, k = qk_norm_rope(qk, scale, joint.streams, joint.turns).unbind(1)
        heads = joint.attend(q, k, v.squeeze(1)).flatten(1)
        heads = _apart(heads, [len(x) for x in xs], joint)
        return [s.update(x, h, g, t) for s, x, h, g, t in zip(self.streams, xs, heads, groups, tables, strict=True)]


def _joined(parts: Sequence[Tensor], joint: Joint) -> Tensor:
    """Tokens of each stream -> of the joined row (S, ...)."""
    if joint.packing is None:
        return parts[0]
    return reorder(torch.cat(list(parts)), joint.packing.order, joint.packing.back)


def _apart(x: Tensor, lengths: list[int], joint: Joint) -> Sequence[Tensor]:
    """The inverse of `_joined`."""
    if joint.packing is None:
        return [x]
    return reorder(x, joint.packing.back, joint.packing.order).split(lengths)


class Stream(nn.Module):
    """The weights of one stream in one block."""

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.heads = heads
        hidden = round(mlp_ratio * 2 / 3 * width / 16) * 16  # SwiGLU has three matrices where an MLP has two
        self.modulate = nn.Linear(width, 6 * width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.qk_scale = nn.Parameter(torch.full((2, width // heads), 1.2))
        self.from_heads = nn.Linear(width, width, bias=False)
        self.to_hidden = nn.Linear(width, 2 * hidden, bias=False)
        self.from_hidden = nn.Linear(hidden, width, bias=False)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        self.modulate.bias.data.unflatten(0, (6, -1))[[1, 4]] = 1.0  # scales start at one

    def modulation(self, groups: Groups) -> tuple[Tensor, ...]:
        """Shift, scale and gate of attention and of the MLP, each (G, D)."""
        return self.modulate(groups.cond).chunk(6, dim=-1)

    def qkv(self, x: Tensor, groups: Groups, modulation: tuple[Tensor, ...]) -> Tensor:
        """x (S, D) -> queries, keys and values (S, 3, N, K)."""
        shift, scale, *_ = modulation
        return self.to_qkv(norm_modulate(x, scale, shift, groups.tokens)).unflatten(-1, (3, self.heads, -1))

    def update(self, x: Tensor, heads: Tensor, groups: Groups, modulation: tuple[Tensor, ...]) -> Tensor:
        """The residual stream x (S, D) after attention output heads (S, D) and the MLP."""
        _, _, gate, mlp_shift, mlp_scale, mlp_gate = modulation
        mixed = self.from_heads(heads)
        x, h = gate_residual_norm_modulate(x, mixed, gate, mlp_scale, mlp_shift, groups.tokens)
        return gate_residual(x, self.from_hidden(swiglu(self.to_hidden(h))), mlp_gate, groups.tokens)
