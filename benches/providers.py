"""Who computes a case: avctl, its reference in eager PyTorch and compiled, and the fused operations of other libraries.

A library's operation is fair if it gives the same numbers: where it norms but does not modulate, PyTorch does the rest.
Who cannot take part is named, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._functorch import config as functorch

from avctl.kernels.cases import OPTIMIZER, Case, Inputs, Outputs
from avctl.kernels.dispatch import runs_triton
from avctl.kernels.groups import TokenGroups
from avctl.kernels.rows import EPS
from benches.frame import failure


def _as_it_is(inputs: Inputs) -> Inputs:
    return inputs


class Provider(NamedTuple):
    """`prepare` gives the operation its own form of the inputs, and is not timed."""

    name: str
    backend: str
    operation: Callable[..., Outputs]
    prepare: Callable[[Inputs], Inputs] = _as_it_is


class Absent(NamedTuple):
    """Who does not take part, and why."""

    name: str
    reason: str


Peer = Callable[[Any], Provider]  # of the library
LIBRARIES = {"liger": "liger_kernel.ops", "quack": "quack"}
WITHOUT_TRITON = {"adamw_ema": "torch._fused_adamw_", "av_window_attention": "processor"}  # others: the reference


def providers(case: Case, inputs: Inputs) -> Iterator[Provider | Absent]:
    """Everybody, in the order of the table; avctl first."""
    backend = "Triton" if runs_triton(*inputs.all_tensors()) else WITHOUT_TRITON.get(case.name, "reference")
    yield Provider("avctl", backend, case.operation)
    yield Provider("eager", "PyTorch", case.reference)
    yield Provider("compile", "torch.compile", _compiled(case.reference))
    peers = PEERS.get(case.name, {})
    for name in dict.fromkeys((*LIBRARIES, *peers)):  # PyTorch has others for some
        peer, package = peers.get(name), LIBRARIES.get(name, "torch")
        if peer is None:
            yield Absent(name, "has no such operation")
            continue
        try:
            yield peer(import_module(package))
        except (ImportError, AttributeError, RuntimeError, OSError) as error:  # whatever a library does at import
            yield Absent(name, f"does not import: {failure(error)}")


def _compiled(reference: Callable[..., Outputs]) -> Callable[..., Outputs]:
    """For every shape anew. Buffers are not given away, so that backward can run again."""
    torch._dynamo.reset()
    functorch.donated_buffer = False
    return torch.compile(reference, dynamic=False)


def _liger_modulated(liger: Any) -> Provider:
    """(1 + scale) RMSNorm(x) + shift for clips of one length, all in float32 as in the reference."""

    def prepare(inputs: Inputs) -> Inputs:
        (x, scale, shift), (groups, _) = inputs
        return Inputs((x, scale.float() - 1, shift), (groups.num_groups,))

    def apply(x: Tensor, scale: Tensor, shift: Tensor, clips: int) -> Tensor:
        x = x.unflatten(0, (clips, -1))
        return liger.LigerModulatedRMSNormFunction.apply(x, None, scale, shift, EPS, 0.0, "gemma", False).flatten(0, 1)

    return Provider("liger", "LigerModulatedRMSNorm", apply, prepare)


def _liger_layer(liger: Any) -> Provider:
    """The norm with weights of one and zero; then PyTorch."""

    def prepare(inputs: Inputs) -> Inputs:
        (x, *_), (groups,) = inputs
        return Inputs(inputs.tensors, (x.new_ones(x.shape[1]), x.new_zeros(x.shape[1]), groups.index))

    def apply(x: Tensor, scale: Tensor, shift: Tensor, one: Tensor, zero: Tensor, index: Tensor) -> Tensor:
        return _modulated(liger.LigerLayerNormFunction.apply(x, one, zero, EPS), scale, shift, index)

    return Provider("liger", "LigerLayerNorm, then PyTorch", apply, prepare)


def _quack_rms(quack: Any) -> Provider:
    """The norm alone; then PyTorch."""

    def apply(x: Tensor, scale: Tensor, shift: Tensor, groups: TokenGroups, norm: str) -> Tensor:
        return _modulated(quack.rmsnorm(x, eps=EPS), scale, shift, groups.index)

    return Provider("quack", "quack.rmsnorm, then PyTorch", apply)


def _liger_swiglu(liger: Any) -> Provider:
    """Of halves, which it copies."""

    def apply(x: Tensor) -> Tensor:
        up, opening = x.chunk(2, dim=-1)
        return liger.LigerSiLUMulFunction.apply(opening, up)

    return Provider("liger", "LigerSiLUMul", apply)


def _torch_adamw(foreach: bool) -> Peer:
    """PyTorch's optimizer, its clipping, and an average and a copy by `foreach`. It counts its steps itself."""

    def prepare(inputs: Inputs) -> Inputs:
        return Inputs(inputs.tensors, (torch.full((), 9.0, device=inputs.tensors[0].device),))

    def step(
        torch: Any, weight: Tensor, gradient: Tensor, first: Tensor, second: Tensor, average: Tensor, *rest: Tensor
    ) -> Outputs:
        *copies, count = rest
        norm = torch.nn.utils.get_total_norm([gradient], foreach=True)
        torch._foreach_mul_([gradient], (OPTIMIZER.clip_norm / (norm + 1e-6)).clamp(max=1))
        torch.optim._functional.adamw(
            [weight], [gradient], [first], [second], [], [count],
            foreach=foreach, fused=not foreach, capturable=weight.is_cuda, amsgrad=False, beta1=OPTIMIZER.betas[0],
            beta2=OPTIMIZER.betas[1], lr=OPTIMIZER.lr, weight_decay=OPTIMIZER.weight_decay, eps=OPTIMIZER.eps,
            maximize=False,
        )  # fmt: skip
        torch._foreach_lerp_([average], [weight], 1 - OPTIMIZER.decay)
        if copies:
            torch._foreach_copy_(copies, [weight])
        return weight, first, second, average, *copies

    name = "foreach" if foreach else "fused"
    return lambda torch: Provider(name, f"torch.optim.AdamW, {name}", partial(step, torch), prepare)


def _modulated(normalized: Tensor, scale: Tensor, shift: Tensor, index: Tensor) -> Tensor:
    return torch.addcmul(shift.index_select(0, index), normalized, scale.index_select(0, index))


PEERS: Mapping[str, Mapping[str, Peer]] = {
    "adamw_ema": {"fused": _torch_adamw(foreach=False), "foreach": _torch_adamw(foreach=True)},
    "norm_modulate": {"liger": _liger_layer},
    "norm_modulate_rms": {"liger": _liger_modulated, "quack": _quack_rms},
    "swiglu": {"liger": _liger_swiglu},
}
