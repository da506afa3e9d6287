"""Patch n' pack (Dehghani et al. 2023): clips of any size and length, images, and sounds alone, end to end.

The tokens of n clips stand in three streams, text, video and audio, each clip by clip; and in the joined row of whole
clips, each with its text, then its picture, then its sound. Every token has a time in seconds on the clock of its clip,
and a video token also a row and a column. All is found from the sizes of the clips alone, for all tokens at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from avctl.kernels.segments import Segments, batch_segments, segments
from avctl.kernels.windows import AUDIO, TEXT, VIDEO


class Grid(NamedTuple):
    """Tokens of a clip: frames, rows and columns of its picture, and those of its sound; 0 of what it has not."""

    frames: int
    rows: int
    columns: int
    sounds: int

    @property
    def pictures(self) -> int:
        """Video tokens."""
        return self.frames * self.rows * self.columns


class Clock(NamedTuple):
    """The time of tokens, of video and of audio."""

    seconds: tuple[float, float]  # that a token lasts
    starts_s: tuple[float, float]  # when the first begins

    def middles(self, kind: int, count: int, device: torch.device) -> Tensor:
        """Of the first `count` tokens of VIDEO or AUDIO, in seconds."""
        which = kind - VIDEO
        return self.starts_s[which] + (torch.arange(count, device=device) + 0.5) * self.seconds[which]


class Packing(NamedTuple):
    """Where the S tokens of n clips stand, those of text, of video and of audio."""

    text: Segments  # of each clip, in its stream
    video: Segments
    audio: Segments
    joined: Segments  # whole clips
    stream: Tensor  # S int64, of the joined row: TEXT, VIDEO or AUDIO
    order: Tensor  # S int64: which of the streams' tokens, one stream behind the other, stands where in the joined row
    back: Tensor  # S int64: where in the joined row each of those stands
    positions: Tensor  # P: those that occur, in seconds, or in rows and columns
    place: Tensor  # S 3 int64, of the joined row: at which of them a token stands along t, y and x

    @property
    def streams(self) -> tuple[Segments, Segments, Segments]:
        return self.text, self.video, self.audio

    def to(self, device: torch.device) -> Packing:
        """On a device."""
        moved: list[Any] = [x.to(device) for x in self]
        return Packing(*moved)


def pack(grids: Sequence[Grid], num_text: int, clock: Clock) -> Packing:
    """Clips of these sizes, each with `num_text` text tokens, on a processor. The last few packs are kept and given
    again: they are read, never written."""
    return _packed(tuple(grids), num_text, clock)


@lru_cache(maxsize=8)  # a batch of one size, and its parts; those of a mixture hardly repeat
@torch.inference_mode(False)  # those who sample pack for those who train
def _packed(grids: tuple[Grid, ...], num_text: int, clock: Clock) -> Packing:
    sizes = torch.tensor(grids, dtype=torch.int64).reshape(-1, 4)
    frames, rows, columns, sounds = sizes.unbind(1)
    lengths = torch.full_like(sounds, num_text), frames * rows * columns, sounds
    largest = Grid(*sizes.amax(0).tolist()) if grids else Grid(0, 0, 0, 0)
    streams = [segments(each) for each in lengths]
    totals = [int(each.sum()) for each in lengths]
    return _packing(streams, totals, segments(torch.stack(lengths).sum(0)), largest, (rows, columns), clock)


def pack_batch(count: int, grid: Grid, num_text: int, clock: Clock, device: torch.device) -> Packing:
    """As many clips of one size, on a device. Numbers may be symbols of a program that is exported."""
    lengths = num_text, grid.pictures, grid.sounds
    streams = [batch_segments(count, length, device) for length in lengths]
    totals = [count * length for length in lengths]
    joined = batch_segments(count, sum(lengths), device)
    return _packing(streams, totals, joined, grid, (grid.rows, grid.columns), clock)


def _packing(
    streams: Sequence[Segments], totals: Sequence[int], joined: Segments, largest: Grid, across: tuple[Any, Any],
    clock: Clock,
) -> Packing:  # fmt: skip
    """`totals` are the tokens of each stream, `across` the rows and columns of each clip, (n,), or of all."""
    device, text_behind = joined.cu_seqlens.device, streams[TEXT].cu_seqlens.diff()
    clips = [each.of_tokens(total) for each, total in zip(streams, totals, strict=True)]
    index = [each.index_of_tokens(total) for each, total in zip(streams, totals, strict=True)]
    begin = joined.cu_seqlens[:-1]
    begins = begin, begin + text_behind, begin + text_behind + streams[VIDEO].cu_seqlens.diff()
    parts = [first.index_select(0, clip) + i for first, clip, i in zip(begins, clips, index, strict=True)]
    back = torch.cat(parts).long()
    order = torch.zeros_like(back).scatter(0, back, torch.arange(len(back), device=device))
    stream = torch.cat([torch.full_like(i, kind) for kind, i in enumerate(index)]).long()
    rows, columns = (x if isinstance(x, int) else x.index_select(0, clips[VIDEO]) for x in across)
    positions, place = _places(index, rows, columns, largest, clock)
    text, video, audio = streams
    stream, place = stream.index_select(0, order), place.index_select(0, order)
    return Packing(text, video, audio, joined, stream, order, back, positions, place)


def _places(index: Sequence[Tensor], rows: Any, columns: Any, largest: Grid, clock: Clock) -> tuple[Tensor, Tensor]:
    """Positions that occur (P,), and the place of each token of the streams (S, 3); text stands at the start."""
    text, video, audio = index
    frames, sounds = (clock.middles(*each, video.device) for each in ((VIDEO, largest.frames), (AUDIO, largest.sounds)))
    across = torch.arange(max(largest.rows, largest.columns), device=video.device)
    positions = torch.cat([across.new_zeros(1), frames, sounds, across])
    at_sounds, at_across = 1 + largest.frames, 1 + largest.frames + largest.sounds
    t, y, x = video // (rows * columns), video // columns % rows, video % columns
    place = torch.cat(
        [
            text.new_zeros(len(text), 3),
            torch.stack([1 + t, at_across + y, at_across + x], dim=1),
            pad((at_sounds + audio)[:, None], (0, 2)),
        ]
    )
    return positions, place.long()


class _Reorder(torch.autograd.Function):
    """Rows of x by a permutation, and gradients by its inverse: no two of them meet, so none are added up."""

    @staticmethod
    def forward(ctx, x: Tensor, order: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(order, back)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        order, back = ctx.saved_tensors
        return reorder(gradients[0], back, order), None, None


def reorder(x: Tensor, order: Tensor, back: Tensor) -> Tensor:
    """x (S, ...) -> (S, ...), row i of the result being row order[i] of x; `back` is the inverse of `order`."""
    return _Reorder.apply(x, order, back)
