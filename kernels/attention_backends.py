"""The backends of attention by name, and what each of them can be used for.

Their order is the rule on a GPU where nothing is measured: the first that can be used runs. Published rates of forward
on an H100 in bfloat16, TFLOP/s with K = 128 and 64: FA3 648 and 497, cuDNN 595 and 413, FA2 370 and 324 (Shah et al.
2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from avctl.kernels import attention_gpu as gpu
from avctl.kernels.attention_cpu import by_form
from avctl.kernels.dispatch import capability
from avctl.kernels.segments import Segments

Need = Literal["different lengths", "other keys", "padding", "determinism"]
HALF = (torch.bfloat16, torch.float16)
SINGLE = (*HALF, torch.float32)
DOUBLE = (*SINGLE, torch.float64)


def attention_reference(
    q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments | None = None, padding: Tensor | None = None
) -> Tensor:
    """What attention means. Tests and benches compare against this function and no other."""
    keys = keys or queries
    is_seen = queries.of_tokens(q.shape[0])[:, None] == keys.of_tokens(k.shape[0])  # S S'
    if padding is not None:
        is_seen = is_seen & padding
    scores = torch.einsum("snk,tnk->nst", q, k) * q.shape[-1] ** -0.5
    weights = scores.masked_fill(~is_seen, -torch.inf).softmax(-1).masked_fill(~is_seen, 0)
    return torch.einsum("nst,tnk->snk", weights, v)


class Asked(NamedTuple):
    """What is to be computed. Numbers are powers of two, rounded up: it is a class of shapes."""

    device: torch.device
    dtype: torch.dtype
    width: int  # K
    is_batch: bool
    is_cross: bool
    is_padded: bool
    is_trained: bool
    is_deterministic: bool
    longest: int  # keys of a sequence
    num_tokens: int  # S
    at_once: int  # S of a batch; of different lengths those of the longest
    num_scores: int  # above those of all heads at once

    def needs(self) -> Iterator[Need]:
        """What not every backend has."""
        if not self.is_batch:
            yield "different lengths"
        if self.is_cross:
            yield "other keys"
        if self.is_padded:
            yield "padding"
        if self.is_deterministic:
            yield "determinism"


class Backend(NamedTuple):
    """`run` takes q (S, N, K), k and v (S', N, K), their segments, and padding (S',) or None."""

    run: Callable[[Tensor, Tensor, Tensor, Segments, Segments, Tensor | None], Tensor]
    devices: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]
    lacks: tuple[Need, ...] = ()
    widths: range = range(1, 2**16)
    same_bytes: range = range(1, 2**16)  # widths for which it is deterministic
    capabilities: range = range(2**16)  # of NVIDIA's GPUs: 90 is 9.0
    package: str | None = None  # that it is in
    keeps_scores: bool = False  # S S' of them
    compiles: bool = False  # for seconds, in the middle of a step, what it has not compiled yet

    def refusal(self, asked: Asked) -> str | None:
        """Why it cannot be used for that; None if it can."""
        if asked.device.type not in self.devices:
            return f"runs on {' and '.join(self.devices)}"
        if asked.dtype not in self.dtypes:
            return f"computes in {', '.join(_word(dtype) for dtype in self.dtypes)}"
        if asked.width not in self.widths:
            return f"takes heads of {self.widths.start} to {self.widths[-1]} channels in steps of {self.widths.step}"
        if asked.is_deterministic and asked.is_trained and asked.width not in self.same_bytes:
            return f"is deterministic for heads of up to {self.same_bytes[-1]} channels"
        if lacking := [need for need in asked.needs() if need in self.lacks]:
            return f"lacks {' and '.join(lacking)}"
        if self.capabilities != range(2**16) and capability(asked.device) not in self.capabilities:
            return f"runs on GPUs of capability {self.capabilities.start / 10} to {self.capabilities[-1] / 10}"
        return self.package and _failure(self.package)


@cache
def _failure(package: str) -> str | None:
    """Why it cannot be imported."""
    try:
        import_module(package)
    except (ImportError, OSError, RuntimeError) as error:  # whatever a library does at import
        return f"{package} does not import: {(str(error).splitlines() or [''])[0]}"
    return None


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


_flash = partial(Backend, devices=("cuda",), dtypes=HALF, lacks=("padding",), widths=range(8, 257, 8))
BACKENDS: Mapping[str, Backend] = {
    "flash3": _flash(
        partial(gpu.by_flash, kernels="FA3"),
        same_bytes=range(1, 193), capabilities=range(90, 91), package="flash_attn_interface",
    ),
    "flash4": _flash(  # of up to 256 channels on 9.0 since its fifth beta, on 10.0 of 128 and 256
        partial(gpu.by_flash, kernels="FA4"),
        widths=range(8, 129, 8), capabilities=range(90, 110), package="flash_attn.cute.interface",
    ),
    "cudnn": _flash(  # PyTorch 2.11 hands it up to 256 channels on 9.0; later ones only if cuDNN is newer than 2.11's
        gpu.by_cudnn,
        lacks=("different lengths", "padding", "determinism"), widths=range(8, 129, 8), capabilities=range(80, 2**16),
    ),
    "flash_attn": _flash(
        gpu.by_flash_attn, capabilities=range(80, 2**16), package="flash_attn.flash_attn_interface"
    ),
    "flash": _flash(gpu.by_flash, capabilities=range(80, 2**16)),
    "efficient": Backend(gpu.by_efficient, ("cuda",), SINGLE, ("other keys", "padding"), range(8, 257, 8)),
    "flex": Backend(gpu.by_flex, ("cuda",), SINGLE, widths=range(16, 257, 16), package="triton", compiles=True),
    "sdpa": Backend(partial(by_form, form="sdpa"), ("cpu",), DOUBLE),
    "sdpa_float32": Backend(partial(by_form, form="sdpa_float32"), ("cpu",), SINGLE),
    "products": Backend(partial(by_form, form="products"), ("cpu",), DOUBLE, keeps_scores=True),
    "reference": Backend(attention_reference, ("cpu", "cuda", "meta"), DOUBLE, keeps_scores=True),
}  # fmt: skip
