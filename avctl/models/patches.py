"""Latents of any length and size to tokens and back. No weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from torch import Tensor

from avctl.models.latents import Layout, Tracks
from avctl.models.packing import Clock, Grid
from avctl.schema import JointDiT
from avctl.schema.latents import token_grid


class Patches:
    """How the latents of a layout are cut into tokens of p and of q numbers."""

    def __init__(self, spec: JointDiT, layout: Layout):
        self.spec, self.video_patch, self.audio_patch = spec, spec.video_patch, spec.audio_patch
        self.main = self.grid((layout.video_frames, *layout.video_size), layout.audio_frames)
        self.sizes = (math.prod(spec.video_patch) * layout.video_channels, spec.audio_patch * layout.audio_channels)
        seconds = spec.video_patch[0] / layout.video_rate, spec.audio_patch / layout.audio_rate
        self.clock = Clock(seconds, (0.0, layout.audio_start_s))

    @property
    def spans(self) -> tuple[int, int]:
        """Latent frames of a video token and of an audio token."""
        return self.video_patch[0], self.audio_patch

    def grid(self, video: tuple[int, int, int], audio_frames: int) -> Grid:
        """Tokens of latents of F, H, W and of audio frames. ValueError where the patches do not divide them."""
        cells, sounds = token_grid(self.spec, video, audio_frames)
        return Grid(*cells, sounds)

    def grid_of(self, latents: Tracks) -> Grid:
        """Tokens of a clip of latents (B, F, C, H, W) and (B, F, C), which the patches divide."""
        (f, h, w), video = self.video_patch, latents.video.shape
        return Grid(video[1] // f, video[3] // h, video[4] // w, latents.audio.shape[1] // self.audio_patch)

    def split(self, latents: Tracks) -> Tracks:
        """(B, F, C, H, W) and (B, F, C) -> tokens (V, p) and (A, q), clip by clip."""
        return Tracks(self.split_video(latents.video), self.split_audio(latents.audio))

    def split_video(self, video: Tensor) -> Tensor:
        """Latents (B, F, C, H, W) -> tokens (V, p): by time, then row, then column."""
        f, h, w = self.video_patch
        video = video.unflatten(4, (-1, w)).unflatten(3, (-1, h)).unflatten(1, (-1, f))  # B F f C H h W w
        return video.permute(0, 1, 4, 6, 2, 3, 5, 7).flatten(4).flatten(0, 3)

    def split_audio(self, audio: Tensor) -> Tensor:
        """Latents (B, F, C) -> tokens (A, q)."""
        return audio.unflatten(1, (-1, self.audio_patch)).flatten(2).flatten(0, 1)

    def join(self, tokens: Tracks, count: int, grid: Grid) -> Tracks:
        """The inverse of `split`, of `count` clips of one grid."""
        (f, h, w), (frames, rows, columns, sounds) = self.video_patch, grid
        video = tokens.video.unflatten(1, (f, -1, h, w)).unflatten(0, (count, frames, rows, columns))  # B F H W f C h w
        video = video.permute(0, 1, 4, 5, 2, 6, 3, 7).flatten(6).flatten(4, 5).flatten(1, 2)
        audio = tokens.audio.unflatten(1, (self.audio_patch, -1)).unflatten(0, (count, sounds)).flatten(1, 2)
        return Tracks(video, audio)

    def join_each(self, tokens: Tracks, grids: Sequence[Grid]) -> list[Tracks]:
        """Packed tokens (V, p) and (A, q) of clips of any grids -> latents (F, C, H, W) and (F, C) of each; of a track
        that it has not, no frames. Clips of one grid next to each other are a batch. ValueError for other tokens."""
        tracks = sum(grid.pictures for grid in grids), sum(grid.sounds for grid in grids)
        if tracks != (lengths := (len(tokens.video), len(tokens.audio))):
            raise ValueError(f"{lengths} tokens of video and audio for grids of {tracks}")
        clips: list[Tracks] = []
        video, audio = tokens
        for grid, run in groupby(grids):
            count = len(list(run))
            ends = count * grid.pictures, count * grid.sounds
            batch = self.join(Tracks(video[: ends[0]], audio[: ends[1]]), count, grid)
            video, audio = video[ends[0] :], audio[ends[1] :]
            clips += map(Tracks, *batch)
        return clips

    def split_masks(self, given: Tracks, grid: Grid) -> Tracks:
        """Masks over latent frames (B, F) each -> over tokens (V,) and (A,): a token is given if its first frame is."""
        video, audio = (mask[:, ::span] for mask, span in zip(given, self.spans, strict=True))
        return Tracks(video.repeat_interleave(grid.rows * grid.columns, dim=1).flatten(), audio.flatten())

    def of_channels(self, values: Tracks) -> Tracks:
        """What belongs to each channel, (C,) each -> to each number of a token, (p,) and (q,)."""
        video, audio = values
        cells = self.video_patch[1] * self.video_patch[2]
        return Tracks(video.repeat_interleave(cells).repeat(self.video_patch[0]), audio.repeat(self.audio_patch))
