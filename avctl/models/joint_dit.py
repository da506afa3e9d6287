"""One transformer over text, video and audio tokens (the `JointDiT` section of a recipe).

Every token has a time in seconds; a video token also has a place. Every token is *free* (noisy, at diffusion time t of
its clip) or *given* (clean, t = 1): which, is the only difference between the tasks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu

from avctl.models.blocks import Groups, JointBlock, modulated
from avctl.models.latents import Latents, Layout
from avctl.models.rope import rotation
from avctl.schema import JointDiT
from avctl.schema.latents import token_grid

TIME_FREQUENCIES = 32
TEXT, VIDEO, AUDIO = range(3)


class JointTransformer(nn.Module):
    """Latents, diffusion time and text states to an output per latent: a velocity or a clean estimate."""

    def __init__(self, spec: JointDiT, layout: Layout):
        super().__init__()
        self.spec, self.layout = spec, layout
        width = spec.width
        self.patches = Patches(spec, layout)
        self.embed_video, self.embed_audio = (nn.Linear(size, width) for size in self.patches.sizes)
        self.summarize = nn.ModuleList(Summary(size, width) for size in self.patches.sizes)
        self.kind = nn.Parameter(torch.randn(3, width) * 0.1)  # what a token of each stream is
        self.time = nn.Sequential(nn.Linear(2 * TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.dual = nn.ModuleList(JointBlock(3, width, spec.heads, spec.mlp_ratio) for _ in range(spec.num_dual))
        self.single = nn.ModuleList(JointBlock(1, width, spec.heads, spec.mlp_ratio) for _ in range(spec.num_single))
        self.last = nn.Linear(width, 2 * width)
        self.to_video, self.to_audio = (nn.Linear(width, size) for size in self.patches.sizes)
        for layer in (self.last, self.to_video, self.to_audio):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.ones_(self.last.bias[width:])  # the scale

    def forward(self, latents: Latents, t: Tensor, given: Latents, text: Tensor, pooled: Tensor) -> Latents:
        """Output of the shape of `latents`: video (B, F, C, H, W) and audio (B, F, C).

        t (B,) in [0, 1]; given: video (B, F) and audio (B, F), 1 where a latent frame is clean (a token counts as
        given by its first frame); text (B, L, D) states; pooled (B, D).
        """
        video, audio = self.patches.split(latents)
        masks = self.patches.masks(given, latents)
        xs = [
            text + self.kind[TEXT],
            self.embed_video(video) + self.kind[VIDEO],
            self.embed_audio(audio) + self.kind[AUDIO],
        ]
        places = self.patches.positions(latents)
        positions = torch.cat([places.video.new_zeros(text.shape[1], 3), *places])  # text stands at the start
        cos_sin = rotation(positions, self.spec.width // self.spec.heads)
        for summarize, tokens, mask in zip(self.summarize, (video, audio), masks, strict=True):
            pooled = pooled + summarize(tokens, mask)
        streams = self._groups(t, masks, pooled, text.shape[1])
        for block in self.dual:
            xs = block(xs, streams, cos_sin)
        lengths = [x.shape[1] for x in xs]
        x, joined = torch.cat(xs, dim=1), _join(streams)
        for block in self.single:
            (x,) = block([x], [joined], cos_sin)
        shift, scale = (joined.member @ self.last(joined.cond)).chunk(2, dim=-1)
        _, video, audio = modulated(x, shift, scale).split(lengths, dim=1)
        return self.patches.join(self.to_video(video), self.to_audio(audio), latents)

    def _groups(self, t: Tensor, masks: tuple[Tensor, Tensor], pooled: Tensor, num_text: int) -> list[Groups]:
        """Condition and membership of each stream: text is always given, the others are free or given by token."""
        times = torch.stack([t, torch.ones_like(t)], dim=1)
        cond = self.time(_time_features(times)) + pooled[:, None]  # B 2 D: free, given
        members = [one_hot(mask.long(), 2).to(cond.dtype) for mask in masks]
        return [
            Groups(silu(cond[:, 1:] + self.kind[TEXT]), cond.new_ones(t.shape[0], num_text, 1)),
            Groups(silu(cond + self.kind[VIDEO]), members[0]),
            Groups(silu(cond + self.kind[AUDIO]), members[1]),
        ]


class Summary(nn.Module):
    """One vector of what is given, for the global condition: colour or pitch are told at once, not token by token
    (MMAudio pools its visual features in the same way)."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.inner = nn.Linear(size, 2 * width)
        self.outer = nn.Linear(2 * width, width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens (B, S, size), mask (B, S) 1 where given -> (B, D)."""
        hidden = silu(self.inner(tokens)) * mask[..., None]
        return self.outer(hidden.sum(1) / mask.sum(1, keepdim=True).clamp(min=1))


class Patches:
    """Latents of any length and size to tokens and back, and where each token stands. No weights."""

    def __init__(self, spec: JointDiT, layout: Layout):
        self.spec, self.video_patch, self.audio_patch = spec, spec.video_patch, spec.audio_patch
        self.grid((layout.video_frames, *layout.video_size), layout.audio_frames)
        self.sizes = (math.prod(spec.video_patch) * layout.video_channels, spec.audio_patch * layout.audio_channels)
        self.seconds = (spec.video_patch[0] / layout.video_rate, spec.audio_patch / layout.audio_rate)  # a token lasts
        self.starts_s = (0.0, layout.audio_start_s)  # of the first tokens

    @property
    def spans(self) -> tuple[int, int]:
        """Latent frames of a video token and of an audio token."""
        return self.video_patch[0], self.audio_patch

    def grid(self, video: tuple[int, int, int], audio_frames: int) -> tuple[tuple[int, int, int], int]:
        """Video tokens (F, H, W) and audio tokens of such latents. ValueError where the patches do not divide them."""
        return token_grid(self.spec, video, audio_frames)

    def masks(self, given: Latents, like: Latents) -> tuple[Tensor, Tensor]:
        """Masks over latent frames -> over tokens, (B, V) and (B, A): a token is given if its first frame is."""
        video, audio = (mask[:, ::span] for mask, span in zip(given, self.spans, strict=True))
        _, rows, columns = self._grid(like.video)
        return video.repeat_interleave(rows * columns, dim=1), audio

    def split(self, latents: Latents) -> tuple[Tensor, Tensor]:
        """-> video tokens (B, V, p), audio tokens (B, A, q)."""
        return self.split_video(latents.video), self.split_audio(latents.audio)

    def split_video(self, video: Tensor) -> Tensor:
        """Latents (B, F, C, H, W) -> tokens (B, V, p)."""
        f, h, w = self.video_patch
        video = video.unflatten(4, (-1, w)).unflatten(3, (-1, h)).unflatten(1, (-1, f))  # B F f C H h W w
        return video.permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(4).flatten(1, 3)

    def split_audio(self, audio: Tensor) -> Tensor:
        """Latents (B, F, C) -> tokens (B, A, q)."""
        return audio.unflatten(1, (-1, self.audio_patch)).flatten(2)

    def join(self, video: Tensor, audio: Tensor, like: Latents) -> Latents:
        """The inverse of `split`, for latents of the shape of `like`."""
        f, h, w = self.video_patch
        _, rows, columns = self._grid(like.video)
        video = video.unflatten(2, (f, like.video.shape[2], h, w)).unflatten(1, (-1, rows, columns))  # B F H W f C h w
        video = video.permute(0, 1, 4, 5, 2, 6, 3, 7).flatten(6).flatten(4, 5).flatten(1, 2)
        return Latents(video, audio.unflatten(2, (self.audio_patch, -1)).flatten(1, 2))

    def positions(self, like: Latents) -> Latents:
        """Of tokens of such latents, (V, 3) and (A, 3): the middle of each in seconds, and its row and column."""
        return Latents(self.video_positions(like.video), self.audio_positions(like.audio))

    def video_positions(self, like: Tensor) -> Tensor:
        """(V, 3), of tokens of latents (B, F, C, H, W)."""
        frames, rows, columns = self._grid(like)
        time = self._times(frames, 0, like)
        place = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), dim=-1)
        place = place.view(-1, 2).to(time).expand(frames, -1, -1).flatten(0, 1)
        return torch.cat([time.repeat_interleave(rows * columns)[:, None], place], dim=1)

    def audio_positions(self, like: Tensor) -> Tensor:
        """(A, 3), of tokens of latents (B, F, C)."""
        time = self._times(like.shape[1] // self.audio_patch, 1, like)
        return torch.cat([time[:, None], time.new_zeros(time.shape[0], 2)], dim=1)

    def _times(self, count: int, stream: int, like: Tensor) -> Tensor:
        """The middles of `count` tokens in time, in seconds; stream 0 is video, 1 is audio."""
        return self.starts_s[stream] + (torch.arange(count, device=like.device) + 0.5) * self.seconds[stream]

    def _grid(self, video: Tensor) -> tuple[int, int, int]:
        """Tokens in time, rows and columns, of latents (B, F, C, H, W)."""
        f, h, w = self.video_patch
        return video.shape[1] // f, video.shape[3] // h, video.shape[4] // w


def _time_features(t: Tensor) -> Tensor:
    """t (...) in [0, 1] -> (..., 2 * TIME_FREQUENCIES) cosines and sines of 1 to 200 radians."""
    turns = t[..., None] * torch.exp(torch.linspace(0, math.log(200), TIME_FREQUENCIES, device=t.device))
    return torch.cat([turns.cos(), turns.sin()], dim=-1)


def _join(streams: list[Groups]) -> Groups:
    """The groups of all streams as those of the joined sequence: memberships on a block diagonal."""
    total = sum(s.cond.shape[1] for s in streams)
    before, members = 0, []
    for stream in streams:
        count = stream.cond.shape[1]
        members.append(torch.nn.functional.pad(stream.member, (before, total - before - count)))
        before += count
    return Groups(torch.cat([s.cond for s in streams], dim=1), torch.cat(members, dim=1))
