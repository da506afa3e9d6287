"""Clips of any size and length, images, picture and sound alone, as tokens of latents end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from avctl.models.latents import Tracks
from avctl.models.packing import Grid
from avctl.models.patches import Patches
from avctl.store.reader import ClipRow, ClipStore, Place


def grid_of(store: ClipStore, row: ClipRow, patches: Patches) -> Grid:
    """Tokens of a clip, without reading it. ValueError where patches do not divide its latents, or it has none."""
    if not row.video_latents and not row.audio_latents:
        raise ValueError(f"clip {row.clip_id[:12]} has no latents: the recipe names no codecs")
    video = (0, 0, 0)
    if row.video_latents:
        frames, _, height, width = store.shape(row.video_latents)
        video = frames, height, width
    return patches.grid(video, row.audio_latents.length if row.audio_latents else 0)


def read_tokens(store: ClipStore, rows: Sequence[ClipRow], patches: Patches) -> Tracks:
    """The latents of these clips as tokens in float32, (V, p) and (A, q). DamagedStore where a checksum does not
    match."""

    video = _tokens(store, [row.video_latents for row in rows], patches.split_video, patches.sizes[0])
    audio = _tokens(store, [row.audio_latents for row in rows], patches.split_audio, patches.sizes[1])
    return Tracks(video, audio)


def _tokens(store: ClipStore, places: Iterable[Place | None], split: Callable[[Tensor], Tensor], size: int) -> Tensor:
    """Of one track of all clips that have it, (tokens, size); those that are alike and follow one another at once."""
    runs = groupby((place for place in places if place), store.shape)
    tokens = [split(torch.from_numpy(store.stack(list(run))).float()) for _, run in runs]
    return torch.cat([torch.empty(0, size), *tokens])
