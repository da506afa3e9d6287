"""Clips of any size and length, images, picture and sound alone, as one sequence of tokens end to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from avctl.models.joint_dit import Patches
from avctl.store.reader import ClipRow, ClipStore


class Packed(NamedTuple):
    """The clips of a pack. Lengths tell what belongs to which clip; they are 0 where it has no such track."""

    video: Tensor  # V p, tokens of all clips
    audio: Tensor  # A q
    video_positions: Tensor  # V 3: seconds on the clock of the clip, row, column
    audio_positions: Tensor  # A 3
    video_lengths: Tensor  # n, tokens of each clip
    audio_lengths: Tensor  # n
    clips: tuple[ClipRow, ...]


def num_tokens(store: ClipStore, row: ClipRow, patches: Patches) -> int:
    """Tokens of picture and sound of a clip. ValueError where patches do not divide its latents, or it has none."""
    if not row.video_latents and not row.audio_latents:
        raise ValueError(f"clip {row.clip_id[:12]} has no latents: the recipe names no codecs")
    video = (0, 0, 0)
    if row.video_latents:
        frames, _, height, width = store.shape(row.video_latents)
        video = frames, height, width
    audio = row.audio_latents.length if row.audio_latents else 0
    (frames, rows, columns), sounds = patches.grid(video, audio)
    return frames * rows * columns + sounds


def pack(store: ClipStore, rows: Sequence[ClipRow], patches: Patches) -> Packed:
    """The latents of these clips as one sequence. DamagedStore where a checksum does not match."""
    video, audio = ([_tokens(store, row, patches, kind) for row in rows] for kind in ("video", "audio"))
    return Packed(
        video=torch.cat([tokens for tokens, _ in video]),
        audio=torch.cat([tokens for tokens, _ in audio]),
        video_positions=torch.cat([positions for _, positions in video]),
        audio_positions=torch.cat([positions for _, positions in audio]),
        video_lengths=torch.tensor([len(tokens) for tokens, _ in video]),
        audio_lengths=torch.tensor([len(tokens) for tokens, _ in audio]),
        clips=tuple(rows),
    )


def _tokens(store: ClipStore, row: ClipRow, patches: Patches, kind: str) -> tuple[Tensor, Tensor]:
    """Tokens (S, size) of one track of a clip, and their positions (S, 3); none where it has no such track."""
    place = row.video_latents if kind == "video" else row.audio_latents
    if place is None:
        return torch.empty(0, patches.sizes[kind == "audio"]), torch.empty(0, 3)
    latents = torch.from_numpy(store.read(place)).float()[None]
    if kind == "video":
        return patches.split_video(latents)[0], patches.video_positions(latents)
    return patches.split_audio(latents)[0], patches.audio_positions(latents)
