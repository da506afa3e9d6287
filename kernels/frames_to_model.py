"""Pictures as they are stored, to what models compute in: cut, mirrored, by channel and normalised.

    y[b, c, t, i, j] = p[b, t, top[b] + i, left[b] + j, c] / 127.5 - 1, and j counts from the right where b is mirrored

p (B, T, H0, W0, 3) uint8, y (B, 3, T, H, W). Division is the exact one, so that every grey level is the same number
wherever it is computed. What would lie outside of the picture is NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avctl.kernels.dispatch import operator, runs_triton, tl, triton

CHANNELS = 3
HALF = 127.5  # of the range of a byte
BLOCK = 1_024  # pixels a program


class Crop(NamedTuple):
    """The part of each clip that is taken."""

    size: tuple[int, int]  # H, W
    corner: Tensor  # B 2 integers: row and column of its first pixel


def frames_to_model_reference(
    pixels: Tensor, crop: Crop | None, is_mirrored: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """What `frames_to_model` means."""
    frames = pixels.movedim(-1, 1).float() / HALF - 1 if crop is None else _cut(pixels, *crop)
    if is_mirrored is not None:
        frames = torch.where(is_mirrored.view(-1, 1, 1, 1, 1), frames.flip(-1), frames)
    return frames.to(dtype)


def _cut(pixels: Tensor, size: tuple[int, int], corner: Tensor) -> Tensor:
    rows, columns = (corner[:, axis, None] + torch.arange(size[axis], device=corner.device) for axis in (0, 1))
    (H, W), clip = pixels.shape[2:4], torch.arange(len(pixels), device=pixels.device)
    inside = ((rows >= 0) & (rows < H))[:, :, None] & ((columns >= 0) & (columns < W))[:, None]  # B H W
    index = clip[:, None, None], rows.clamp(0, H - 1)[:, :, None], columns.clamp(0, W - 1)[:, None]
    taken = pixels.movedim(1, 3)[index].float() / HALF - 1  # B H W T 3
    return torch.where(inside[..., None, None], taken, torch.nan).permute(0, 4, 3, 1, 2)


@triton.jit
def _convert(
    pixels_ptr, corner_ptr, mirrored_ptr, frames_ptr, T, H0, W0, H, W, BLOCK: tl.constexpr, CHANNELS: tl.constexpr
):
    """Some pixels of a picture, in all channels; the first axis of the grid counts pictures."""
    clip = tl.program_id(0).to(tl.int64) // T
    frame = tl.program_id(0) % T
    pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = pixel // W
    column = pixel % W
    if mirrored_ptr is not None:
        column = tl.where(tl.load(mirrored_ptr + clip), W - 1 - column, column)
    if corner_ptr is not None:
        row += tl.load(corner_ptr + 2 * clip).to(tl.int32)
        column += tl.load(corner_ptr + 2 * clip + 1).to(tl.int32)
    ok = pixel < H * W
    inside = (row >= 0) & (row < H0) & (column >= 0) & (column < W0)
    taken_ptr = pixels_ptr + (((clip * T + frame) * H0 + row) * W0 + column) * CHANNELS
    for channel in tl.static_range(CHANNELS):
        taken = tl.load(taken_ptr + channel, mask=ok & inside, other=0).to(tl.float32)
        value = tl.where(inside, tl.div_rn(taken, 127.5) - 1, float("nan"))
        tl.store(frames_ptr + ((clip * CHANNELS + channel) * T + frame) * H * W + pixel, value, mask=ok)


@operator("avctl::frames_to_model")
def _apply(
    pixels: Tensor, height: int, width: int, corner: Tensor | None, is_mirrored: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """corner None: from the first pixel on; is_mirrored None: no clip is."""
    B, T, H0, W0, _ = pixels.shape
    frames = torch.empty((B, CHANNELS, T, height, width), dtype=dtype, device=pixels.device)
    if frames.numel():
        each = [x.contiguous() if x is not None else None for x in (corner, is_mirrored)]
        grid = B * T, triton.cdiv(height * width, BLOCK)
        tensors = pixels.contiguous(), *each, frames
        _convert[grid](*tensors, T, H0, W0, height, width, BLOCK=BLOCK, CHANNELS=CHANNELS)
    return frames


@_apply.register_fake
def _(pixels: Tensor, height: int, width: int, corner: object, is_mirrored: object, dtype: torch.dtype) -> Tensor:
    return torch.empty((len(pixels), CHANNELS, pixels.shape[1], height, width), dtype=dtype, device=pixels.device)


def frames_to_model(
    pixels: Tensor, crop: Crop | None, is_mirrored: Tensor | None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """pixels (B, T, H0, W0, 3) uint8 -> (B, 3, T, H, W) float32 or bfloat16 in [-1, 1].

    crop None: the whole picture; is_mirrored (B,) bool, None: no clip is. ValueError for shapes, formats and devices
    that do not fit together.
    """
    _check(pixels, crop, is_mirrored, dtype)
    if not runs_triton(pixels):
        return frames_to_model_reference(pixels, crop, is_mirrored, dtype)
    height, width = crop.size if crop else pixels.shape[2:4]
    return _apply(pixels, height, width, crop.corner if crop else None, is_mirrored, dtype)


def _check(pixels: Tensor, crop: Crop | None, is_mirrored: Tensor | None, dtype: torch.dtype) -> None:
    if pixels.dtype != torch.uint8 or pixels.ndim != 5 or pixels.shape[-1] != CHANNELS:
        raise ValueError(f"pixels {tuple(pixels.shape)} of {pixels.dtype}: (B, T, H, W, 3) of torch.uint8 is needed")
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"dtype {dtype}: torch.float32 or torch.bfloat16 is needed")
    if crop is not None:
        _check_clips("corner", crop.corner, (len(pixels), 2), (torch.int64, torch.int32), pixels.device)
    if is_mirrored is not None:
        _check_clips("is_mirrored", is_mirrored, (len(pixels),), (torch.bool,), pixels.device)


def _check_clips(
    name: str, found: Tensor, shape: tuple[int, ...], dtypes: tuple[torch.dtype, ...], device: torch.device
) -> None:
    if found.shape != shape or found.dtype not in dtypes or found.device != device:
        said = f"{name} {tuple(found.shape)} of {found.dtype} on {found.device}"
        raise ValueError(f"{said}: {shape} of {dtypes[0]} on {device} is needed")
