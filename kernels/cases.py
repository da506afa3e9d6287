"""Every operation once: its inputs, its reference, and the bytes that it cannot do without.

The ledger, the tests and the benches run these cases and no others. A case has a size of two numbers: rows, which are
tokens or what there is as many of, and the width of the model, of which an operation makes its own axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from math import inf
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from avctl.kernels.adamw_ema import (
    Settings,
    Slots,
    adamw_ema,
    adamw_ema_reference,
    gradient_norm,
    gradient_norm_reference,
)
from avctl.kernels.av_window_attention import av_window_attention, av_window_attention_reference, flops
from avctl.kernels.flow_loss import flow_loss, flow_loss_reference, flow_mix, flow_mix_reference
from avctl.kernels.frames_to_model import Crop, frames_to_model, frames_to_model_reference
from avctl.kernels.gate_residual import gate_residual, gate_residual_reference
from avctl.kernels.gate_residual_norm_modulate import (
    gate_residual_norm_modulate,
    gate_residual_norm_modulate_reference,
)
from avctl.kernels.groups import TokenGroups, token_groups
from avctl.kernels.guided_euler_step import guided_euler_step, guided_euler_step_reference
from avctl.kernels.norm_modulate import norm_modulate, norm_modulate_reference
from avctl.kernels.qk_norm_rope import Rotation, of_tokens, qk_norm_rope, qk_norm_rope_reference, rotation
from avctl.kernels.rows import Norm
from avctl.kernels.segments import Segments, segments
from avctl.kernels.swiglu import swiglu, swiglu_reference
from avctl.kernels.windows import AUDIO, TEXT, VIDEO, BlockMap, Windows, block_map, count_live

ROWS, WIDTH = 32_768, 2_048  # of the design: two clips of 16,384 tokens, 16 heads of 128, in bfloat16
OPTIMIZER = Settings(lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, clip_norm=1.0, decay=0.999)
GROUPS = 4  # clips times kinds of token
CLIP = 16_000  # tokens of ten seconds: text, 30 frames of video, sound
NEAR = Windows(((inf, inf, inf), (inf, 1.0, 1.0), (inf, 1.0, inf)))  # a quarter of the pairs of such a clip

Pass = Literal["forward", "backward"]
Outputs = Tensor | tuple[Tensor, ...]


class Work(NamedTuple):
    """What a pass cannot do without, whatever computes it."""

    bytes: int  # read and written, each number once; tables and sums of tiles, which caches hold, are left out
    flops: int = 0  # of matrix products


class Inputs(NamedTuple):
    """Arguments of an operation and of its reference, in their order."""

    tensors: tuple[Tensor, ...]  # in the format of the model; gradients are for them, where there are any
    rest: tuple = ()

    def all_tensors(self) -> list[Tensor]:
        """Those of the rest as well."""
        return [x for x in tree_leaves((self.tensors, self.rest)) if isinstance(x, Tensor)]


class Draw:
    """Random inputs of a seed: what a case asks for is made in its order."""

    def __init__(self, dtype: torch.dtype, device: torch.device | str, seed: int):
        self.dtype, self.device = dtype, torch.device(device)
        self._generator = torch.Generator(self.device).manual_seed(seed)

    def normal(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Standard normal numbers, in the format of the model or another one."""
        drawn = torch.randn(shape, generator=self._generator, device=self.device)
        return drawn.to(dtype or self.dtype)

    def integers(self, end: int, *shape: int) -> Tensor:
        """From 0 to `end` - 1."""
        return torch.randint(end, shape, generator=self._generator, device=self.device)


class Case(NamedTuple):
    """An operation, on inputs of any size."""

    name: str
    make: Callable[[int, int, Draw], Inputs]  # rows, width
    operation: Callable[..., Outputs]
    reference: Callable[..., Outputs]  # of the same arguments
    floor: Callable[[int, int, int], Mapping[Pass, Work]]  # rows, width, bytes of a number; without a gradient: forward

    def passes(self) -> tuple[Pass, ...]:
        return tuple(self.floor(1, 1, 1))


def _any_order(rows: int, width: int, draw: Draw) -> Inputs:
    tables = draw.normal(GROUPS, width), draw.normal(GROUPS, width)
    return Inputs((draw.normal(rows, width), *tables), (token_groups(draw.integers(GROUPS, rows), GROUPS),))


def _clips(rows: int, width: int, draw: Draw) -> Inputs:
    """Clips of one length that follow each other, as peers want them."""
    tables = draw.normal(GROUPS, width), draw.normal(GROUPS, width)
    clip = torch.arange(rows, device=draw.device) * GROUPS // rows
    return Inputs((draw.normal(rows, width), *tables), (token_groups(clip, GROUPS), "rms"))


def _norm_modulate_reference(
    x: Tensor, scale: Tensor, shift: Tensor, groups: TokenGroups, norm: Norm = "layer"
) -> Tensor:
    return norm_modulate_reference(x, scale, shift, groups.index, norm)


def _norm_modulate_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """Reads x and writes y; reads x and dy and writes dx."""
    return {"forward": Work(2 * rows * width * size), "backward": Work(3 * rows * width * size)}


def _gate_residual(rows: int, width: int, draw: Draw) -> Inputs:
    x, y = draw.normal(rows, width), draw.normal(rows, width)
    return Inputs((x, y, draw.normal(GROUPS, width)), (token_groups(draw.integers(GROUPS, rows), GROUPS),))


def _gate_residual_reference(x: Tensor, y: Tensor, gate: Tensor, groups: TokenGroups) -> Tensor:
    return gate_residual_reference(x, y, gate, groups.index)


def _gate_residual_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """Reads x and y, writes their sum; reads its gradient and y, writes dy."""
    return {"forward": Work(3 * rows * width * size), "backward": Work(3 * rows * width * size)}


def _gate_residual_norm_modulate(rows: int, width: int, draw: Draw) -> Inputs:
    tables = (draw.normal(GROUPS, width) for _ in range(3))
    x, y = draw.normal(rows, width), draw.normal(rows, width)
    return Inputs((x, y, *tables), (token_groups(draw.integers(GROUPS, rows), GROUPS),))


def _gate_residual_norm_modulate_reference(
    x: Tensor, y: Tensor, gate: Tensor, scale: Tensor, shift: Tensor, groups: TokenGroups
) -> tuple[Tensor, Tensor]:
    return gate_residual_norm_modulate_reference(x, y, gate, scale, shift, groups.index)


def _gate_residual_norm_modulate_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """Reads x and y, writes both outputs; reads both gradients, x and y, writes dx and dy."""
    return {"forward": Work(4 * rows * width * size), "backward": Work(6 * rows * width * size)}


def _qk_norm_rope(rows: int, width: int, draw: Draw) -> Inputs:
    """Heads of 128 channels, or as wide as the model where it is narrower; a clip of 64 x 16 x 16 tokens."""
    head = min(128, width)
    frequencies = torch.logspace(0, -2, head // 2, device=draw.device)
    angles = torch.arange(64, device=draw.device)[:, None] * frequencies
    place = torch.stack([draw.integers(end, rows) for end in (64, 16, 16)], dim=1)
    turns = rotation(angles, place, (head // 2 - 2 * (head // 16), head // 16))
    streams = token_groups(draw.integers(3, rows), 3)
    return Inputs((draw.normal(rows, 2, width // head, head), draw.normal(3, 2, head)), (streams, turns))


def _qk_norm_rope_reference(qk: Tensor, weight: Tensor, streams: TokenGroups, turns: Rotation) -> Tensor:
    cos_sin = of_tokens(turns.table.to(torch.promote_types(qk.dtype, torch.float32)), turns.place, turns.pairs)
    return qk_norm_rope_reference(qk, weight, streams.index, cos_sin)


def _qk_norm_rope_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """Reads and writes queries and keys; reads them and their gradients, writes gradients."""
    return {"forward": Work(4 * rows * width * size), "backward": Work(6 * rows * width * size)}


@lru_cache(maxsize=1)
def _map(rows: int, device: torch.device) -> BlockMap:
    """Clips of CLIP tokens and what is left: a 32nd is text, as much is sound, and neither fills blocks evenly."""
    packed = segments(torch.tensor([min(CLIP, rows - begin) for begin in range(0, rows, CLIP)])).to(device)
    clip = packed.of_tokens(rows).long()
    begin, end = packed.cu_seqlens[clip], packed.cu_seqlens[clip + 1]
    share = (torch.arange(rows, device=device) - begin) / (end - begin)  # of the clip that is before the token
    kind = torch.where(share < 1 / 32, TEXT, torch.where(share < 31 / 32, VIDEO, AUDIO))
    frame = ((share - 1 / 32) * 32).floor()
    second = torch.where(kind == VIDEO, frame / 3, torch.where(kind == AUDIO, (share * 32 - 31) * 10, 0.0))
    place = torch.stack([second, torch.zeros_like(second), torch.zeros_like(second)], dim=1)
    return block_map(kind.int(), place, packed, NEAR)


def _av_window_attention(rows: int, width: int, draw: Draw) -> Inputs:
    """Packed queries, keys and values, of heads as in `_qk_norm_rope`."""
    head = min(128, width)
    q, k, v = draw.normal(rows, 3, width // head, head).unbind(1)
    return Inputs((q, k, v), (_map(rows, draw.device),))


def _av_window_attention_reference(q: Tensor, k: Tensor, v: Tensor, map: BlockMap) -> Tensor:
    """A clip and four heads at a time, and again for backward: all dense pairs at once fit in no memory."""
    lengths = map.clip.bincount().tolist()
    clips = (x.split(lengths, dim=-1) for x in (map.group, map.place, map.reach))
    maps = [map._replace(group=group, place=place, reach=reach) for group, place, reach in zip(*clips, strict=True)]
    tokens = zip(*(x.split(lengths) for x in (q, k, v)), maps, strict=True)
    return torch.cat([torch.cat([_dense(*heads, of_clip) for heads in _by_heads(*qkv)], 1) for *qkv, of_clip in tokens])


def _by_heads(*qkv: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(x.split(4, dim=1) for x in qkv), strict=True)


def _dense(*inputs: Any) -> Tensor:
    return checkpoint(av_window_attention_reference, *inputs, use_reentrant=False)


def _av_window_attention_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """Reads q, k and v, writes the output; reads these four and its gradient, writes three gradients."""
    forward, backward = flops(count_live(_map(rows, torch.device("cpu"))).pairs, 1, width)
    return {"forward": Work(4 * rows * width * size, forward), "backward": Work(8 * rows * width * size, backward)}


def _hidden(width: int) -> int:
    """Of an MLP with SwiGLU that is as large as one of four times the width: 5,504 of 2,048."""
    return -(-8 * width // 3 // 128) * 128


def _swiglu(rows: int, width: int, draw: Draw) -> Inputs:
    return Inputs((draw.normal(rows, 2 * _hidden(width)),))


def _swiglu_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """Reads both halves, writes their product; reads its gradient and both, writes both gradients."""
    return {"forward": Work(3 * rows * _hidden(width) * size), "backward": Work(5 * rows * _hidden(width) * size)}


def _adamw_ema(rows: int, width: int, draw: Draw) -> Inputs:
    """Weights, gradients, both moments, averages and the copy of a matrix."""
    weight, gradient, first, second, average = (draw.normal(rows, width, dtype=torch.float32) for _ in range(5))
    return Inputs((weight, gradient, first, second.square(), average, draw.normal(rows, width, dtype=torch.bfloat16)))


def _adamw_ema_step(*tensors: Tensor) -> tuple[Tensor, ...]:
    slots = Slots(*([tensor] for tensor in tensors))
    adamw_ema(slots, gradient_norm(slots.gradients), 10, OPTIMIZER)
    return tensors[0], *tensors[2:]


def _adamw_ema_reference(*tensors: Tensor) -> tuple[Tensor, ...]:
    slots = Slots(*([tensor] for tensor in tensors))
    adamw_ema_reference(slots, gradient_norm_reference(slots.gradients), 10, OPTIMIZER)
    return tensors[0], *tensors[2:]


def _adamw_ema_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """In float32: reads the gradient for its norm; reads all but the copy, writes all but the gradient."""
    return {"forward": Work(rows * width * (10 * 4 + 2))}


LATENTS = 64  # numbers of a token of latents


def _path(rows: int, draw: Draw) -> tuple[Tensor, Tensor, Tensor, Segments]:
    """Clean tokens in float32, times and seeds, of a long clip and of a short one of an odd length."""
    clips = Segments(torch.tensor([0, rows - rows // 3, rows], dtype=torch.int32, device=draw.device), rows - rows // 3)
    clean = draw.normal(rows, LATENTS, dtype=torch.float32)
    return clean, draw.integers(100, 2) / 100, draw.integers(2**62, 2), clips


def _flow_mix(rows: int, width: int, draw: Draw) -> Inputs:
    clean, t, seeds, clips = _path(rows, draw)
    return Inputs((clean,), (t, draw.integers(2, rows).float(), seeds, clips))


def _flow_mix_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """In float32: reads clean tokens, writes mixed ones."""
    return {"forward": Work(2 * rows * LATENTS * 4)}


def _flow_loss(rows: int, width: int, draw: Draw) -> Inputs:
    clean, t, seeds, clips = _path(rows, draw)
    share = draw.integers(2, rows) * (2 / rows)
    return Inputs((draw.normal(rows, LATENTS),), (clean, t, share, seeds, clips, "velocity", 25.0))


def _flow_loss_reference(output: Tensor, clean: Tensor, t: Tensor, share: Tensor, *rest: Any) -> Tensor:
    """In float64 all of it is: noise that is rounded to float32 is not exact."""
    format = torch.promote_types(output.dtype, torch.float32)
    return flow_loss_reference(output, clean.to(format), t.to(format), share.to(format), *rest)


def _flow_loss_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """Reads the output, and in float32 clean tokens; reads them again, writes the gradient."""
    return {"forward": Work(rows * LATENTS * (size + 4)), "backward": Work(rows * LATENTS * (2 * size + 4))}


def _guided_euler_step(rows: int, width: int, draw: Draw) -> Inputs:
    x, given = draw.normal(rows, LATENTS, dtype=torch.float32), draw.integers(2, rows).float()
    outputs = draw.normal(rows, LATENTS), draw.normal(rows, LATENTS)
    return Inputs((x, *outputs), (given, 4.0, 0.3, 0.02, "velocity"))


def _guided_euler_step_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """Reads both outputs; reads and writes tokens in float32."""
    return {"forward": Work(rows * LATENTS * (2 * size + 4 + 4))}


def _frames_to_model(rows: int, width: int, draw: Draw) -> Inputs:
    """Two clips of 8 pictures, of which three quarters are taken each way: 192 pixels a token."""
    H, W = 12, rows
    pixels = draw.integers(256, 2, 8, H * 4 // 3, W * 4 // 3 + 1, 3).byte()
    crop = Crop((H, W), draw.integers(4, 2, 2) * min(1, W // 12))
    return Inputs((), (pixels, crop, draw.integers(2, 2).bool(), draw.dtype))


def _frames_to_model_floor(rows: int, width: int, size: int) -> Mapping[Pass, Work]:
    """Reads the bytes that are taken, writes numbers."""
    return {"forward": Work(2 * 8 * 12 * rows * 3 * (1 + size))}


CASES = {
    case.name: case
    for case in (
        Case("norm_modulate", _any_order, norm_modulate, _norm_modulate_reference, _norm_modulate_floor),
        Case("norm_modulate_rms", _clips, norm_modulate, _norm_modulate_reference, _norm_modulate_floor),
        Case("gate_residual", _gate_residual, gate_residual, _gate_residual_reference, _gate_residual_floor),
        Case(
            "gate_residual_norm_modulate", _gate_residual_norm_modulate, gate_residual_norm_modulate,
            _gate_residual_norm_modulate_reference, _gate_residual_norm_modulate_floor,
        ),
        Case("qk_norm_rope", _qk_norm_rope, qk_norm_rope, _qk_norm_rope_reference, _qk_norm_rope_floor),
        Case(
            "av_window_attention", _av_window_attention, av_window_attention, _av_window_attention_reference,
            _av_window_attention_floor,
        ),
        Case("swiglu", _swiglu, swiglu, swiglu_reference, _swiglu_floor),
        Case("flow_mix", _flow_mix, flow_mix, flow_mix_reference, _flow_mix_floor),
        Case("flow_loss", _flow_loss, flow_loss, _flow_loss_reference, _flow_loss_floor),
        Case(
            "guided_euler_step", _guided_euler_step, guided_euler_step, guided_euler_step_reference,
            _guided_euler_step_floor,
        ),
        Case("frames_to_model", _frames_to_model, frames_to_model, frames_to_model_reference, _frames_to_model_floor),
        Case("adamw_ema", _adamw_ema, _adamw_ema_step, _adamw_ema_reference, _adamw_ema_floor),
    )
}  # fmt: skip
