"""Flow matching on a straight path (Lipman et al. 2023) with noise that is never stored: the point on the path, and the
loss there with its gradient.

    x_t = t clean + (1 - t) noise, and clean where a token is given
    loss = sum over tokens s of a clip: share[s] w mean((output[s] - target[s])^2)
    predict "velocity": target = clean - noise, w = 1;  "clean": target = clean, w = min((1 - t)^-2, max_weight)

S tokens of M numbers are those of n clips, packed (see kernels/segments.py). The noise is made of a seed a clip, here
and again in the loss (see kernels/noise.py), and is the same in whatever pack a clip stands; velocity = (x1 - x_t) /
(1 - t), so the weight makes both errors one. The kernels, one each, move two numbers for each of the tokens' to mix,
two for the loss and three for its gradient:

    doutput[s] = 2 dloss share[s] w (output[s] - target[s]) / M

Nothing but the inputs is saved. Each program writes the sum over its part of a clip, and the one that ends last adds
them up in their order: the loss does not depend on which one that was.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from avctl.kernels.counters import counters
from avctl.kernels.dispatch import operator, runs_triton, tl, triton
from avctl.kernels.noise import noise, noise_reference
from avctl.kernels.rows import check_formats, check_one_a_token, check_rows, refuse_gradients
from avctl.kernels.segments import Segments

Predict = Literal["velocity", "clean"]
BLOCK = 2_048  # numbers of a program, wherever tokens end
SUMS = 128  # of a clip that are read at once


def flow_mix_reference(clean: Tensor, t: Tensor, given: Tensor, seeds: Tensor, clips: Segments) -> Tensor:
    """What `flow_mix` means."""
    noise = _noise(clean, seeds, clips)
    mixed = torch.lerp(noise, clean.to(noise.dtype), _of_tokens(t.to(noise.dtype), clean, clips))
    return torch.where(given[:, None] > 0, clean, mixed.to(clean.dtype))


def flow_loss_reference(
    output: Tensor, clean: Tensor, t: Tensor, share: Tensor, seeds: Tensor, clips: Segments, predict: Predict,
    max_weight: float,
) -> Tensor:  # fmt: skip
    """What `flow_loss` means. Tests and benches compare against this function and no other."""
    output = output.to(torch.promote_types(output.dtype, torch.float32))
    if predict == "velocity":
        error = (output - (clean - _noise(clean, seeds, clips))).square()
    else:
        error = (output - clean).square() * _of_tokens((1 - t).pow(-2).clamp(max=max_weight), clean, clips)
    losses = error.mean(1) * share
    return losses.new_zeros(clips.count).index_add(0, clips.of_tokens(len(clean)), losses)


def _of_tokens(values: Tensor, tokens: Tensor, clips: Segments) -> Tensor:
    """values (n,) of clips -> (S, 1) of their tokens."""
    return values.index_select(0, clips.of_tokens(len(tokens)))[:, None]


def _noise(clean: Tensor, seeds: Tensor, clips: Segments) -> Tensor:
    """(S, M): that of a clip goes on from token to token."""
    dtype = torch.promote_types(clean.dtype, torch.float32)
    noise = noise_reference(seeds, torch.Size((clips.longest, clean.shape[1])), dtype).flatten(0, 1)
    if clips.is_batch(len(clean)):
        return noise
    clip, index = clips.of_tokens(len(clean)), clips.index_of_tokens(len(clean))
    return noise.index_select(0, clip * clips.longest + index)


@triton.jit
def _mix(clean_ptr, t_ptr, given_ptr, seeds_ptr, cu_seqlens_ptr, mixed_ptr, M: tl.constexpr, BLOCK: tl.constexpr):
    clip, token, size, first = _part(cu_seqlens_ptr, M, BLOCK)
    if first < size:
        element = first + tl.arange(0, BLOCK)
        ok = element < size
        clean = tl.load(clean_ptr + token * M + element, mask=ok, other=0.0).to(tl.float32)
        t = tl.load(t_ptr + clip).to(tl.float32)
        mixed = t * clean + (1 - t) * noise(tl.load(seeds_ptr + clip), first, BLOCK)
        is_given = tl.load(given_ptr + token + element // M, mask=ok, other=1.0) > 0
        tl.store(mixed_ptr + token * M + element, tl.where(is_given, clean, mixed), mask=ok)


@triton.jit
def _loss(
    output_ptr, clean_ptr, t_ptr, share_ptr, seeds_ptr, cu_seqlens_ptr, sums_ptr, ended_ptr, loss_ptr, max_weight,
    M: tl.constexpr, VELOCITY: tl.constexpr, BLOCK: tl.constexpr, SUMS: tl.constexpr,
):  # fmt: skip
    clip, token, size, first = _part(cu_seqlens_ptr, M, BLOCK)
    parts = tl.maximum(tl.cdiv(size, BLOCK), 1)
    if tl.program_id(0) < parts:
        error, counted = _errors(
            output_ptr, clean_ptr, t_ptr, share_ptr, seeds_ptr, clip, token, size, first, max_weight, M, VELOCITY, BLOCK
        )
        sums_ptr += clip * tl.num_programs(0)
        tl.store(sums_ptr + tl.program_id(0), tl.sum(error * counted))
        if tl.atomic_add(ended_ptr + clip, 1) == parts - 1:  # sees what was stored before the other additions
            tl.store(ended_ptr + clip, 0)
            total = tl.zeros((SUMS,), tl.float32)
            part = tl.arange(0, SUMS)
            begin = 0
            while begin < parts:
                total += tl.load(sums_ptr + begin + part, mask=begin + part < parts, other=0.0)
                begin += SUMS
            tl.store(loss_ptr + clip, tl.sum(total))


@triton.jit
def _loss_backward(
    dloss_ptr, output_ptr, clean_ptr, t_ptr, share_ptr, seeds_ptr, cu_seqlens_ptr, doutput_ptr, max_weight,
    M: tl.constexpr, VELOCITY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    clip, token, size, first = _part(cu_seqlens_ptr, M, BLOCK)
    if first < size:
        _, counted = _errors(
            output_ptr, clean_ptr, t_ptr, share_ptr, seeds_ptr, clip, token, size, first, max_weight, M, VELOCITY, BLOCK
        )
        element = first + tl.arange(0, BLOCK)
        doutput = 2 * tl.load(dloss_ptr + clip) * counted
        tl.store(doutput_ptr + token * M + element, doutput, mask=element < size)


@triton.jit
def _part(cu_seqlens_ptr, M: tl.constexpr, BLOCK: tl.constexpr):
    """The clip of a program, its first token and its numbers, and the first of them that is the program's. Programs of
    clips that are shorter than the longest may have none."""
    clip = tl.program_id(1).to(tl.int64)
    token = tl.load(cu_seqlens_ptr + clip).to(tl.int64)
    size = (tl.load(cu_seqlens_ptr + clip + 1) - token) * M
    return clip, token, size, tl.program_id(0) * BLOCK


@triton.jit
def _errors(
    output_ptr, clean_ptr, t_ptr, share_ptr, seeds_ptr, clip, token, size, first, max_weight, M: tl.constexpr,
    VELOCITY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of each number, (BLOCK,), and the same as it counts in the loss; zeros where it does not."""
    element = first + tl.arange(0, BLOCK)
    ok = element < size
    error = tl.load(output_ptr + token * M + element, mask=ok, other=0.0).to(tl.float32)
    error -= tl.load(clean_ptr + token * M + element, mask=ok, other=0.0).to(tl.float32)
    if VELOCITY:
        error += noise(tl.load(seeds_ptr + clip), first, BLOCK)
        weight = 1.0
    else:
        remaining = 1 - tl.load(t_ptr + clip).to(tl.float64)  # all of the clip is rounded as its weight is
        weight = tl.minimum(1 / (remaining * remaining), max_weight)
    share = tl.load(share_ptr + token + element // M, mask=ok, other=0.0).to(tl.float32)
    error = tl.where(share > 0, error, 0.0)
    return error, error * share * (weight / M).to(tl.float32)


@operator("avctl::flow_mix")
def _apply_mix(clean: Tensor, t: Tensor, given: Tensor, seeds: Tensor, cu_seqlens: Tensor, longest: int) -> Tensor:
    """`Segments` is taken apart: operators know no tuples."""
    clean, t, given, seeds = (x.contiguous() for x in (clean, t, given, seeds))
    mixed = torch.empty(clean.shape, dtype=clean.dtype, device=clean.device)
    if clean.numel():
        M = clean.shape[1]
        _mix[_grid(M, cu_seqlens, longest)](clean, t, given, seeds, cu_seqlens, mixed, M=M, BLOCK=BLOCK)
    return mixed


@_apply_mix.register_fake
def _(clean: Tensor, *_: object) -> Tensor:
    return torch.empty(clean.shape, dtype=clean.dtype, device=clean.device)


@operator("avctl::flow_loss")
def _apply_loss(
    output: Tensor, clean: Tensor, t: Tensor, share: Tensor, seeds: Tensor, cu_seqlens: Tensor, longest: int,
    is_velocity: bool, max_weight: float,
) -> Tensor:  # fmt: skip
    """(n,) float32."""
    output, clean, t, share, seeds = (x.contiguous() for x in (output, clean, t, share, seeds))
    M, (parts, clips) = output.shape[1], _grid(output.shape[1], cu_seqlens, longest)
    loss = torch.empty((clips,), dtype=torch.float32, device=output.device)
    if clips:
        sums = torch.empty((clips, parts), dtype=torch.float32, device=output.device)
        tensors = output, clean, t, share, seeds, cu_seqlens, sums, counters(clips, output.device), loss
        _loss[parts, clips](*tensors, max_weight, M=M, VELOCITY=is_velocity, BLOCK=BLOCK, SUMS=SUMS)
    return loss


@_apply_loss.register_fake
def _(output: Tensor, clean: Tensor, t: Tensor, share: Tensor, seeds: Tensor, cu_seqlens: Tensor, *_: object) -> Tensor:
    return torch.empty((len(cu_seqlens) - 1,), dtype=torch.float32, device=output.device)


@operator("avctl::flow_loss_backward")
def _apply_loss_backward(
    dloss: Tensor, output: Tensor, clean: Tensor, t: Tensor, share: Tensor, seeds: Tensor, cu_seqlens: Tensor,
    longest: int, is_velocity: bool, max_weight: float,
) -> Tensor:  # fmt: skip
    """(S, M) in the format of the output."""
    dloss, output, clean, t, share, seeds = (x.contiguous() for x in (dloss, output, clean, t, share, seeds))
    doutput = torch.empty(output.shape, dtype=output.dtype, device=output.device)
    if output.numel():
        M, tensors = output.shape[1], (dloss, output, clean, t, share, seeds, cu_seqlens, doutput)
        _loss_backward[_grid(M, cu_seqlens, longest)](*tensors, max_weight, M=M, VELOCITY=is_velocity, BLOCK=BLOCK)
    return doutput


@_apply_loss_backward.register_fake
def _(dloss: Tensor, output: Tensor, *_: object) -> Tensor:
    return torch.empty(output.shape, dtype=output.dtype, device=output.device)


def _grid(M: int, cu_seqlens: Tensor, longest: int) -> tuple[int, int]:
    """Programs of the longest clip, at least one, and clips."""
    return max(1, triton.cdiv(longest * M, BLOCK)), len(cu_seqlens) - 1


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:6])
    ctx.numbers = inputs[6:]


def _differentiate(ctx, dloss: Tensor) -> tuple:
    return _apply_loss_backward(dloss, *ctx.saved_tensors, *ctx.numbers), *(None,) * 8


_apply_loss.register_autograd(_differentiate, setup_context=_save)


def flow_mix(clean: Tensor, t: Tensor, given: Tensor, seeds: Tensor, clips: Segments) -> Tensor:
    """x_t, shape and format of clean (S, M): t (n,) and seeds (n,) int64 of clips, given (S,) 1 where clean stays.

    ValueError for shapes, formats and devices that do not fit together, and for what requires a gradient.
    """
    check_rows({"clean": clean})
    check_one_a_token(clean, given=given)
    _check_clips(clean, t, seeds, clips)
    refuse_gradients(clean=clean, t=t, given=given)
    if not runs_triton(clean, t, given):
        return flow_mix_reference(clean, t, given, seeds, clips)
    return _apply_mix(clean, t, given, seeds, *clips)


def flow_loss(
    output: Tensor, clean: Tensor, t: Tensor, share: Tensor, seeds: Tensor, clips: Segments, predict: Predict,
    max_weight: float,
) -> Tensor:  # fmt: skip
    """Mean squared error of the velocity per clip (n,) float32, each token by its share in the clip.

    output and clean (S, M), t (n,), share (S,), 0 for what is given, seeds (n,) int64 as `flow_mix` had them. There is
    a gradient for output alone. ValueError as of `flow_mix`.
    """
    check_rows({"output": output, "clean": clean})
    check_one_a_token(clean, share=share)
    _check_clips(clean, t, seeds, clips)
    refuse_gradients(clean=clean, t=t, share=share)
    if not runs_triton(output, clean, t, share):
        return flow_loss_reference(output, clean, t, share, seeds, clips, predict, max_weight)
    return _apply_loss(output, clean, t, share, seeds, *clips, predict == "velocity", max_weight)


def _check_clips(clean: Tensor, t: Tensor, seeds: Tensor, clips: Segments) -> None:
    check_formats(t=t, clean=clean)
    for name, each in (("t", t), ("seeds", seeds)):
        if each.shape != (clips.count,):
            raise ValueError(f"{name} {tuple(each.shape)}: one a clip is needed, ({clips.count},)")
    if seeds.dtype != torch.int64 or seeds.device != clean.device:
        raise ValueError(f"seeds of {seeds.dtype} on {seeds.device}: torch.int64 on {clean.device} is needed")
    if clips.cu_seqlens.device != clean.device:
        raise ValueError(f"clips on {clips.cu_seqlens.device}: {clean.device} is needed")
