"""Attention on a GPU, by the kernels of PyTorch and of packages of flash attention: all are fused, none keeps scores.

    flash                   PyTorch's operator for rows of any lengths, which `torch.nn.attention.varlen` calls too
    flash3, flash4          kernels of packages behind the same operator of ours (Dao 2023, Shah et al. 2024)
    flash_attn              the package of flash attention 2
    cudnn                   cuDNN's kernel, for batches
    efficient               the memory-efficient kernel (Rabe and Staats 2021), which computes in float32 too
    flex                    FlexAttention with a mask of sequences and of keys that exist (Dong et al. 2024)

Each takes q (S, N, K), k and v (S', N, K), segments and padding, with at least one query and one key. Nothing is
registered in place of what others call: PyTorch would have FA3 and FA4 for the whole process, in every SDPA.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.weak import WeakTensorKeyDictionary

from avctl.errors import MachineError
from avctl.kernels.dispatch import operator
from avctl.kernels.segments import Segments

MOST_PROGRAMS = 1_024  # of FlexAttention: for formats, heads, widths, gradients, padding, and sizes that are equal
_masks = WeakTensorKeyDictionary()  # block masks of self-attention, which the layers of a model share


def by_flash(
    q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, _: Tensor | None, kernels: str = ""
) -> Tensor:
    """By kernels "FA3" or "FA4" of a package, or PyTorch's own, which are FA2's."""
    return _flash(q, k, v, *_places(queries, keys), kernels)[0]


def by_flash_attn(q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, _: Tensor | None) -> Tensor:
    package: Any = import_module("flash_attn.flash_attn_interface")
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    return package.flash_attn_varlen_func(q, k, v, *_places(queries, keys), deterministic=is_deterministic)


def by_cudnn(q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, _: Tensor | None) -> Tensor:
    return _batch(SDPBackend.CUDNN_ATTENTION, q, k, v, queries, keys)


def by_efficient(q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, _: Tensor | None) -> Tensor:
    if queries.is_batch(q.shape[0]) and keys.is_batch(k.shape[0]):
        return _batch(SDPBackend.EFFICIENT_ATTENTION, q, k, v, queries, keys)
    rows = (x[None] for x in (q, k, v))  # each 1 S N K
    return torch.ops.aten._efficient_attention_forward(*rows, None, *_places(queries, keys), 0.0, 0, True)[0][0]


def by_flex(
    q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, padding: Tensor | None, compiles: bool = True
) -> Tensor:
    rows = (x.transpose(0, 1)[None] for x in (q, k, v))  # each 1 N S K
    mask = _mask(q, k, queries, keys, padding, compiles)
    return _flex("flex_attention", compiles)(*rows, block_mask=mask)[0].transpose(0, 1)


def _places(queries: Segments, keys: Segments) -> tuple[Tensor, Tensor, int, int]:
    return queries.cu_seqlens, keys.cu_seqlens, queries.longest, keys.longest


def _batch(kernel: SDPBackend, q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments) -> Tensor:
    batches = (x.transpose(1, 2) for x in (queries.batch(q), keys.batch(k), keys.batch(v)))  # each B N S K
    with sdpa_kernel(kernel):
        return scaled_dot_product_attention(*batches).transpose(1, 2).flatten(0, 1)


def _mask(q: Tensor, k: Tensor, queries: Segments, keys: Segments, padding: Tensor | None, compiles: bool) -> Any:
    """Which keys each query sees, and which blocks of them are empty."""
    is_shared = keys is queries and padding is None and not torch.compiler.is_compiling()
    if is_shared and queries.cu_seqlens in _masks:
        version, mask = _masks[queries.cu_seqlens]
        if version == _version(queries.cu_seqlens):  # nobody has written other sequences there
            return mask
    of_query, of_key = queries.of_tokens(q.shape[0]), keys.of_tokens(k.shape[0])

    def sees(clip: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = of_query[query] == of_key[key]
        return same if padding is None else same & padding[key]

    mask = _flex("create_block_mask", compiles)(sees, None, None, q.shape[0], k.shape[0], device=q.device)
    if is_shared:
        _masks[queries.cu_seqlens] = _version(queries.cu_seqlens), mask
    return mask


def _version(x: Tensor) -> int | None:
    """How often it was written; nobody counts in inference mode."""
    return None if x.is_inference() else x._version


def _flex(name: str, compiles: bool) -> Callable[..., Any]:
    """A function of FlexAttention, compiled for any number of tokens, or within the program that is being compiled."""
    from torch.nn.attention import flex_attention

    function = getattr(flex_attention, name)
    return _compiled(function) if compiles and not torch.compiler.is_compiling() else function


@cache
def _compiled(function: Callable[..., Any], backend: str = "inductor") -> Callable[..., Any]:
    """`torch.compile` has 8 programs of a function, and then runs it as it stands, which would keep all scores."""
    from torch._dynamo import config

    @wraps(function)
    def fused(*inputs: Any, **options: Any) -> Any:
        if not torch.compiler.is_dynamo_compiling():
            raise MachineError(
                "attention by `flex` is not compiled here, and would keep all scores",
                hint="TORCHDYNAMO_DISABLE and torch.compiler.set_stance turn torch.compile off",
            )
        return function(*inputs, **options)

    compiled = torch.compile(fused, backend=backend, dynamic=True, fullgraph=True)

    def run(*inputs: Any, **options: Any) -> Any:
        with config.patch(recompile_limit=MOST_PROGRAMS, accumulated_recompile_limit=MOST_PROGRAMS):
            return compiled(*inputs, **options)

    return run


@operator("avctl::flash_rows")
def _flash(
    q: Tensor, k: Tensor, v: Tensor, cu_queries: Tensor, cu_keys: Tensor, longest: int, longest_key: int, kernels: str
) -> tuple[Tensor, Tensor]:
    """Attention (S, N, K), and the logarithm of the sum of exponentials (N, S)."""
    where = _named(cu_queries, cu_keys, longest, longest_key)
    match kernels:
        case "FA3":
            import_module("flash_attn_interface")  # which registers its operators
            made = torch.ops.flash_attn_3.fwd(q, k, v, **where, num_splits=1)
        case "FA4":
            package: Any = import_module("flash_attn.cute.interface")
            made = package._flash_attn_fwd(q, k, v, **where, return_lse=True)
        case _:
            made = torch.ops.aten._flash_attention_forward(q, k, v, *where.values(), 0.0, False, False)
    return made[0].contiguous(), made[1].contiguous()  # PyTorch's kernels give what has the strides of q


def _named(cu_queries: Tensor, cu_keys: Tensor, longest: int, longest_key: int) -> dict[str, Any]:
    """Where sequences are, in the order and by the names that all kernels have for it."""
    return {
        "cu_seqlens_q": cu_queries, "cu_seqlens_k": cu_keys, "max_seqlen_q": longest, "max_seqlen_k": longest_key
    }  # fmt: skip


@_flash.register_fake
def _(q: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), q.new_empty((q.shape[1], q.shape[0]), dtype=torch.float32)


@operator("avctl::flash_rows_backward")
def _flash_backward(
    dout: Tensor, q: Tensor, k: Tensor, v: Tensor, cu_queries: Tensor, cu_keys: Tensor, out: Tensor, sums: Tensor,
    longest: int, longest_key: int, kernels: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dq, dk, dv."""
    inputs, where = (dout.contiguous(), q, k, v, out, sums), _named(cu_queries, cu_keys, longest, longest_key)
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    match kernels:
        case "FA3":
            import_module("flash_attn_interface")
            dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
            torch.ops.flash_attn_3.bwd(*inputs, dq=dq, dk=dk, dv=dv, **where, deterministic=is_deterministic)
        case "FA4":
            package: Any = import_module("flash_attn.cute.interface")
            dq, dk, dv = package._flash_attn_bwd(
                q, k, v, out, inputs[0], sums, **where, deterministic=is_deterministic
            )[:3]
        case _:
            state = [torch.empty(2, dtype=torch.uint64, device=q.device)] * 2  # of dropout, which nobody reads
            dq, dk, dv = torch.ops.aten._flash_attention_backward(*inputs, *where.values(), 0.0, False, *state)
    return dq.contiguous(), dk.contiguous(), dv.contiguous()


@_flash_backward.register_fake
def _(dout: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.longest, ctx.longest_key, ctx.kernels = inputs
    ctx.save_for_backward(*tensors, *output)


def _differentiate(ctx, dout: Tensor, _: Tensor) -> tuple:
    gradients = _flash_backward(dout, *ctx.saved_tensors, ctx.longest, ctx.longest_key, ctx.kernels)
    return *gradients, *(None,) * 5


_flash.register_autograd(_differentiate, setup_context=_save)
