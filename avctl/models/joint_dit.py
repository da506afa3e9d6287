"""One transformer over text, video and audio tokens of packed clips (the `JointDiT` section of a recipe).

Every token has a time in seconds; a video token also has a place. Every token is *free* (noisy, at diffusion time t of
its clip) or *given* (clean, t = 1): which, is the only difference between the tasks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from avctl.kernels.groups import token_groups
from avctl.kernels.norm_modulate import norm_modulate
from avctl.kernels.windows import BlockMap, av_windows, block_map
from avctl.models.blocks import Groups, Joint, JointBlock
from avctl.models.latents import Tracks
from avctl.models.packing import Packing, reorder
from avctl.models.rope import rotation
from avctl.schema import JointDiT

TIME_FREQUENCIES = 32


class JointTransformer(nn.Module):
    """Tokens of latents, diffusion time and text states to an output per token: a velocity or a clean estimate."""

    def __init__(self, spec: JointDiT, sizes: tuple[int, int]):
        """sizes: the numbers of a video token (p) and of an audio token (q)."""
        super().__init__()
        self.spec, width = spec, spec.width
        self.embed_video, self.embed_audio = (nn.Linear(size, width) for size in sizes)
        self.summarize = nn.ModuleList(Summary(size, width) for size in sizes)
        self.kind = nn.Parameter(torch.randn(3, width) * 0.1)  # what a token of each stream is
        self.time = nn.Sequential(nn.Linear(2 * TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.dual = nn.ModuleList(JointBlock(3, width, spec.heads, spec.mlp_ratio) for _ in range(spec.num_dual))
        self.single = nn.ModuleList(JointBlock(1, width, spec.heads, spec.mlp_ratio) for _ in range(spec.num_single))
        self.last = nn.Linear(width, 2 * width)
        self.to_video, self.to_audio = (nn.Linear(width, size) for size in sizes)
        for layer in (self.last, self.to_video, self.to_audio):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.ones_(self.last.bias[width:])  # the scale

    def forward(
        self, tokens: Tracks, t: Tensor, given: Tracks, text: Tensor, pooled: Tensor, packing: Packing
    ) -> Tracks:
        """Output of the shape of `tokens`: video (V, p) and audio (A, q) of n clips.

        t (n,) in [0, 1]; given (V,) and (A,), 1 where a token is clean; text (n, L, D) states; pooled (n, D).
        """
        clips = Tracks(packing.video.of_tokens(len(tokens.video)), packing.audio.of_tokens(len(tokens.audio)))
        xs = [text.flatten(0, 1), self.embed_video(tokens.video), self.embed_audio(tokens.audio)]
        xs = [x + kind for x, kind in zip(xs, self.kind, strict=True)]
        for summarize, *track in zip(self.summarize, tokens, given, clips, strict=True):
            pooled = pooled + summarize(*track, len(t))
        turns = rotation(packing.positions, packing.place, self.spec.width // self.spec.heads)
        streams, joined = self._groups(t, given, clips, pooled, packing)
        windows = self._windows(packing)
        apart = Joint(packing.joined, token_groups(packing.stream, 3), turns, packing, windows)
        as_one = Joint(packing.joined, token_groups(torch.zeros_like(packing.stream), 1), turns, None, windows)
        for block in self.dual:
            xs = block(xs, streams, apart)
        x = reorder(torch.cat(xs), packing.order, packing.back)
        for block in self.single:
            (x,) = block([x], [joined], as_one)
        shift, scale = self.last(joined.cond).chunk(2, dim=-1)
        x = reorder(norm_modulate(x, scale, shift, joined.tokens), packing.back, packing.order)
        _, video, audio = x.split([len(x) for x in xs])
        return Tracks(self.to_video(video), self.to_audio(audio))

    def _windows(self, packing: Packing) -> BlockMap | None:
        if self.spec.window_s is None:
            return None
        place = packing.positions[packing.place]  # S 3: second, row and column
        return block_map(packing.stream.int(), place, packing.joined, av_windows(self.spec.window_s))

    def _groups(
        self, t: Tensor, given: Tracks, clips: Tracks, pooled: Tensor, packing: Packing
    ) -> tuple[list[Groups], Groups]:
        """What modulates each stream and the joined row: text is always given, of the others each token is free or
        given."""
        times = torch.stack([t, torch.ones_like(t)], dim=1)
        cond = self.time(_time_features(times)) + pooled[:, None]  # n 2 D: free, given
        conds = [silu(c + kind) for c, kind in zip((cond[:, 1:], cond, cond), self.kind, strict=True)]
        words = packing.text.of_tokens(len(packing.stream) - sum(map(len, clips)))
        members = [(words, 0), *((clip, mask.int()) for clip, mask in zip(clips, given, strict=True))]
        streams = [_grouped(c, *member) for c, member in zip(conds, members, strict=True)]
        behind = [5 * clip + which + first for (clip, which), first in zip(members, (0, 1, 3), strict=True)]
        joined = torch.cat(behind).index_select(0, packing.order)
        return streams, Groups(torch.cat(conds, dim=1).flatten(0, 1), token_groups(joined, 5 * len(t)))


def _grouped(cond: Tensor, clip: Tensor, which: Tensor | int) -> Groups:
    """cond (n, G, D) of the groups of each clip; the clip of each token (S,), and which of its groups it is in."""
    groups = cond.shape[1]
    return Groups(cond.flatten(0, 1), token_groups(groups * clip + which, groups * len(cond)))


class Summary(nn.Module):
    """One vector of what is given, for the global condition: colour or pitch are told at once, not token by token
    (MMAudio pools its visual features in the same way)."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.inner = nn.Linear(size, 2 * width)
        self.outer = nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor, given: Tensor, clip: Tensor, count: int) -> Tensor:
        """tokens (S, size), given (S,) 0 or 1, the clip of each token (S,), of so many -> (count, D)."""
        clips = torch.arange(count, device=clip.device, dtype=clip.dtype)
        counted = (clip == clips[:, None]) * given  # count S
        return self.outer(counted @ silu(self.inner(tokens)) / counted.sum(1, keepdim=True).clamp(min=1))


def _time_features(t: Tensor) -> Tensor:
    """t (...) in [0, 1] -> (..., 2 * TIME_FREQUENCIES) cosines and sines of 1 to 200 radians."""
    turns = t[..., None] * torch.exp(torch.linspace(0, math.log(200), TIME_FREQUENCIES, device=t.device))
    return torch.cat([turns.cos(), turns.sin()], dim=-1)
