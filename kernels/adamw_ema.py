"""A step of AdamW with clipped gradients, the average of the weights and their copy in 16 bits, in two launches.

    g = min(1, clip_norm / (norm + 1e-6)) * gradient,  norm = sqrt(sum of all gradients squared)
    m <- m + (1 - beta1) (g - m),  v <- beta2 v + (1 - beta2) g^2
    p <- p (1 - lr weight_decay) - lr / (1 - beta1^n) * m / (sqrt(v) / sqrt(1 - beta2^n) + eps)
    e <- e + (1 - decay) (p - e),  cast = p in bfloat16

Decoupled weight decay as in Loshchilov and Hutter 2019, the n-th step. All weights of a model go together, found by
their addresses, cut into pieces; a step moves 36 bytes a number, 38 with the copy, and reads 4 for the norm before it.
Kernels and reference agree to the bit: nothing is fused into one rounding, roots and quotients are rounded to nearest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from avctl.kernels.counters import counters
from avctl.kernels.dispatch import operator, runs_triton, tl, triton

PIECE, BLOCK = 16_384, 512  # numbers that a program takes, and at once
PROGRAMS = 1_024  # of the norm, at most
WARPS = 4


class Settings(NamedTuple):
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    clip_norm: float
    decay: float  # of the average
    eps: float = 1e-8


class Slots(NamedTuple):
    """The tensors of a step, one of each for every weight. Float32, but for the copies."""

    weights: Sequence[Tensor]
    gradients: Sequence[Tensor]
    first: Sequence[Tensor]  # moment
    second: Sequence[Tensor]
    averages: Sequence[Tensor] = ()  # none, or one of each
    copies: Sequence[Tensor] = ()  # bfloat16; likewise


def gradient_norm_reference(gradients: Sequence[Tensor]) -> Tensor:
    """What `gradient_norm` means."""
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()


def adamw_ema_reference(slots: Slots, norm: Tensor, step: int, settings: Settings) -> None:
    """What `adamw_ema` means, weight by weight."""
    keep, first, second, root, rate, average = _factors(settings, step)
    clip_norm, root = norm.new_tensor(settings.clip_norm), norm.new_tensor(root)  # quotients with numbers round twice
    clip = (clip_norm / (norm + 1e-6)).clamp(max=1)
    for i, (weight, gradient) in enumerate(zip(slots.weights, slots.gradients, strict=True)):
        g = clip * gradient
        m = slots.first[i] + first * (g - slots.first[i])
        v = slots.second[i] * settings.betas[1] + second * g * g
        denominator = v.double().sqrt().float() / root + settings.eps  # a CPU's root in float32 is not the nearest
        p = weight * keep - rate * (m / denominator)
        slots.first[i].copy_(m)
        slots.second[i].copy_(v)
        weight.copy_(p)
        if slots.averages:
            slots.averages[i].add_(average * (p - slots.averages[i]))
        if slots.copies:
            slots.copies[i].copy_(p)


@triton.jit
def _norm(addresses_ptr, piece_ptr, begin_ptr, size_ptr, sums_ptr, ended_ptr, norm_ptr, num_pieces,
          IS_ALIGNED: tl.constexpr, PIECE: tl.constexpr, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):  # fmt: skip
    """Sums of squares of every so many pieces; the program that ends last adds them up in their order."""
    program = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float32)
    piece = program
    while piece < num_pieces:
        weight = tl.load(piece_ptr + piece)
        begin = tl.multiple_of(tl.load(begin_ptr + piece), PIECE)
        size = tl.load(size_ptr + weight)
        gradient_ptr = _pointer(addresses_ptr + weight, tl.float32, IS_ALIGNED)
        if begin + PIECE <= size:
            for offset in range(0, PIECE, BLOCK):
                x = tl.load(gradient_ptr + begin + offset + tl.arange(0, BLOCK))
                total += x * x
        else:
            for offset in range(0, PIECE, BLOCK):
                at = begin + offset + tl.arange(0, BLOCK)
                x = tl.load(gradient_ptr + at, mask=at < size, other=0.0)
                total += x * x
        piece += tl.num_programs(0)
    tl.store(sums_ptr + program, tl.sum(total, 0))
    if tl.atomic_add(ended_ptr, 1) == tl.num_programs(0) - 1:  # sees what was stored before the other additions
        tl.store(ended_ptr, 0)
        every = tl.arange(0, PROGRAMS)
        sums = tl.load(sums_ptr + every, mask=every < tl.num_programs(0), other=0.0)
        tl.store(norm_ptr, tl.sqrt_rn(tl.sum(sums, 0)))


@triton.jit
def _update(
    addresses_ptr, piece_ptr, begin_ptr, size_ptr, norm_ptr, W,
    clip_norm, keep, first, beta2, second, root, rate, eps, average,
    HAS_AVERAGES: tl.constexpr, HAS_COPIES: tl.constexpr, IS_ALIGNED: tl.constexpr,
    PIECE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A piece."""
    weight = tl.load(piece_ptr + tl.program_id(0))
    begin = tl.multiple_of(tl.load(begin_ptr + tl.program_id(0)), PIECE)
    size = tl.load(size_ptr + weight)
    clip = tl.minimum(tl.div_rn(clip_norm, tl.load(norm_ptr) + 1e-6), 1.0, propagate_nan=tl.PropagateNan.ALL)
    slots = addresses_ptr + weight
    if begin + PIECE <= size:
        for offset in range(0, PIECE, BLOCK):
            _update_block(slots, W, begin + offset, size, clip, keep, first, beta2, second, root, rate, eps, average,
                          True, HAS_AVERAGES, HAS_COPIES, IS_ALIGNED, BLOCK)  # fmt: skip
    else:
        for offset in range(0, PIECE, BLOCK):
            _update_block(slots, W, begin + offset, size, clip, keep, first, beta2, second, root, rate, eps, average,
                          False, HAS_AVERAGES, HAS_COPIES, IS_ALIGNED, BLOCK)  # fmt: skip


@triton.jit
def _update_block(
    slots, W, begin, size, clip, keep, first, beta2, second, root, rate, eps, average,
    IS_WHOLE: tl.constexpr, HAS_AVERAGES: tl.constexpr, HAS_COPIES: tl.constexpr, IS_ALIGNED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """`slots` points at the address of a weight; W further on stands that of its gradient, and so on as in `Slots`."""
    at = begin + tl.arange(0, BLOCK)
    ok = (at < size) | IS_WHOLE
    p_ptr = _pointer(slots, tl.float32, IS_ALIGNED) + at
    m_ptr = _pointer(slots + 2 * W, tl.float32, IS_ALIGNED) + at
    v_ptr = _pointer(slots + 3 * W, tl.float32, IS_ALIGNED) + at
    g = clip * tl.load(_pointer(slots + W, tl.float32, IS_ALIGNED) + at, mask=ok)
    m = tl.load(m_ptr, mask=ok)
    m = m + first * (g - m)
    v = tl.load(v_ptr, mask=ok) * beta2 + second * g * g
    p = tl.load(p_ptr, mask=ok) * keep - rate * tl.div_rn(m, tl.div_rn(tl.sqrt_rn(v), root) + eps)
    tl.store(m_ptr, m, mask=ok)
    tl.store(v_ptr, v, mask=ok)
    tl.store(p_ptr, p, mask=ok)
    if HAS_AVERAGES:
        e_ptr = _pointer(slots + 4 * W, tl.float32, IS_ALIGNED) + at
        e = tl.load(e_ptr, mask=ok)
        tl.store(e_ptr, e + average * (p - e), mask=ok)
    if HAS_COPIES:
        copies = slots + (4 + HAS_AVERAGES) * W
        tl.store(_pointer(copies, tl.bfloat16, IS_ALIGNED) + at, p.to(tl.bfloat16), mask=ok)


@triton.jit
def _pointer(address_ptr, FORMAT: tl.constexpr, IS_ALIGNED: tl.constexpr):
    pointer = tl.load(address_ptr).to(tl.pointer_type(FORMAT))
    if IS_ALIGNED:
        pointer = tl.multiple_of(pointer, 16)
    return pointer


class Pieces(NamedTuple):
    """Weights of such sizes cut into pieces, on a device."""

    weight: Tensor  # of each piece, its weight
    begin: Tensor  # and where in it the piece begins
    size: Tensor  # of each weight


@lru_cache(maxsize=16)
def _pieces(sizes: tuple[int, ...], device: torch.device) -> Pieces:
    begins = [(i, begin) for i, size in enumerate(sizes) for begin in range(0, size, PIECE)]
    weight, begin = torch.tensor(begins, dtype=torch.int64, device=device).view(-1, 2).unbind(1)
    return Pieces(weight.contiguous(), begin.contiguous(), torch.tensor(sizes, dtype=torch.int64, device=device))


@operator("avctl::gradient_norm")
def _gradient_norm(gradients: list[Tensor]) -> Tensor:
    device = gradients[0].device
    pieces = _pieces(tuple(gradient.numel() for gradient in gradients), device)
    programs = max(1, min(PROGRAMS, len(pieces.weight)))
    sums = torch.empty((programs,), dtype=torch.float32, device=device)
    norm = torch.empty((), dtype=torch.float32, device=device)
    addresses, is_aligned = _addresses(gradients, device)
    _norm[(programs,)](
        addresses, *pieces, sums, counters(1, device), norm, len(pieces.weight),
        IS_ALIGNED=is_aligned, PIECE=PIECE, BLOCK=BLOCK, PROGRAMS=PROGRAMS, num_warps=WARPS,
    )  # fmt: skip
    return norm


@_gradient_norm.register_fake
def _(gradients: list[Tensor]) -> Tensor:
    return gradients[0].new_empty(())


@operator("avctl::adamw_ema", mutates_args=("weights", "first", "second", "averages", "copies"))
def _apply(
    weights: list[Tensor], gradients: list[Tensor], first: list[Tensor], second: list[Tensor], averages: list[Tensor],
    copies: list[Tensor], norm: Tensor, clip_norm: float, beta2: float, eps: float, factors: list[float],
) -> None:  # fmt: skip
    """`Slots`, the norm of all gradients, and `_factors`."""
    keep, one, two, root, rate, average = factors
    pieces = _pieces(tuple(weight.numel() for weight in weights), norm.device)
    addresses, is_aligned = _addresses([*weights, *gradients, *first, *second, *averages, *copies], norm.device)
    if len(pieces.weight):
        _update[(len(pieces.weight),)](
            addresses, *pieces, norm, len(weights), clip_norm, keep, one, beta2, two, root, rate, eps, average,
            HAS_AVERAGES=bool(averages), HAS_COPIES=bool(copies), IS_ALIGNED=is_aligned, PIECE=PIECE, BLOCK=BLOCK,
            num_warps=WARPS, enable_fp_fusion=False,
        )  # fmt: skip


@_apply.register_fake
def _(*_: object) -> None:
    return None


def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """The root of the sum of all squares of gradients, a scalar. ValueError where there are none."""
    if not gradients:
        raise ValueError("there are no gradients")
    _check({"gradients": gradients})
    if not runs_triton(*gradients):
        return torch.nn.utils.get_total_norm(gradients, foreach=True)
    return _gradient_norm(list(gradients))


def adamw_ema(slots: Slots, norm: Tensor, step: int, settings: Settings) -> None:
    """Apply the gradients to the weights, in the step-th step (from 1), and the weights to their averages and copies.

    `norm` is that of all gradients that are clipped together, as `gradient_norm` gives it; it is not waited for. On a
    CPU the gradients are clipped in place. ValueError for tensors that do not fit together.
    """
    if any(
        len(tensors) != len(slots.weights)
        for name, tensors in slots._asdict().items()
        if tensors or name not in ("averages", "copies")
    ):
        raise ValueError(f"{', '.join(f'{len(tensors)} {name}' for name, tensors in slots._asdict().items())}")
    _check({name: tensors for name, tensors in slots._asdict().items() if tensors})
    if not runs_triton(*slots.weights):
        return _on_cpu(slots, norm, step, settings)
    _apply(
        *(list(tensors) for tensors in slots), norm, settings.clip_norm, settings.betas[1], settings.eps,
        _factors(settings, step),
    )  # fmt: skip


def _on_cpu(slots: Slots, norm: Tensor, step: int, settings: Settings) -> None:
    """By PyTorch's own fused step, which rounds otherwise in the last place."""
    weights, gradients, first, second, averages, copies = (list(tensors) for tensors in slots)
    torch._foreach_mul_(gradients, (settings.clip_norm / (norm + 1e-6)).clamp(max=1))
    beta1, beta2 = settings.betas
    steps = [torch.tensor(float(step))] * len(weights)
    torch._fused_adamw_(
        weights, gradients, first, second, [], steps, amsgrad=False, lr=settings.lr, beta1=beta1, beta2=beta2,
        weight_decay=settings.weight_decay, eps=settings.eps, maximize=False,
    )  # fmt: skip
    if averages:
        torch._foreach_lerp_(averages, weights, 1 - settings.decay)
    if copies:
        torch._foreach_copy_(copies, weights)


def _factors(settings: Settings, step: int) -> list[float]:
    """What stands before each term, computed in double precision, as PyTorch does: of p, of g in m, of g^2 in v, the
    root in the denominator, the rate, and of p in e."""
    beta1, beta2 = settings.betas
    return [
        1 - settings.lr * settings.weight_decay, 1 - beta1, 1 - beta2, math.sqrt(1 - beta2**step),
        settings.lr / (1 - beta1**step), 1 - settings.decay,
    ]  # fmt: skip


def _addresses(tensors: Sequence[Tensor], device: torch.device) -> tuple[Tensor, bool]:
    """Where they are, and whether 16 divides all of it."""
    addresses = tuple(tensor.data_ptr() for tensor in tensors)
    return _on_device(addresses, device), not any(address % 16 for address in addresses)


@lru_cache(maxsize=64)  # steps find most gradients where they were before, and all else always
def _on_device(addresses: tuple[int, ...], device: torch.device) -> Tensor:
    held = torch.tensor(addresses, dtype=torch.int64, pin_memory=device.type == "cuda")  # so that nobody waits for it
    return held.to(device, non_blocking=True)


def _check(slots: dict[str, Sequence[Tensor]]) -> None:
    """ValueError unless the tensors of a weight are laid out alike, without gaps, each in the format of its slot."""
    like = next(iter(slots.values()))
    for name, tensors in slots.items():
        wanted = torch.bfloat16 if name == "copies" else torch.float32
        for i, (x, other) in enumerate(zip(tensors, like, strict=True)):
            if x.shape != other.shape or not _are_alike(x, other):
                raise ValueError(f"{name}[{i}] {tuple(x.shape)} is not laid out as a weight {tuple(other.shape)}")
            if x.dtype != wanted:
                raise ValueError(f"{name}[{i}] is of {x.dtype}: {wanted} is needed")
            if x.device != like[0].device:
                raise ValueError(f"{name}[{i}] is on another device than {like[0].device}")


def _are_alike(x: Tensor, other: Tensor) -> bool:
    """Whether the numbers of both, of one shape, fill a piece of memory, in the same order."""
    if x.is_contiguous():
        return other.is_contiguous()
    return x.stride() == other.stride() == torch.empty_like(x, device="meta").stride()
