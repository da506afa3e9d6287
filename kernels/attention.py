"""Softmax attention within sequences that stand end to end in a row.

    out[s] = sum over t of softmax_t(q[s] . k[t] / sqrt(K)) v[t],  t = the keys of the sequence that s is in

S queries and S' keys of N heads, K channels each. A key that is padding is never attended to; a query without a key
gives zeros. Nothing is computed anew here: PyTorch and packages have kernels for this, and which of them runs is what
is decided, by `attention_choice`.
"""

from __future__ import annotations

from operator import index

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from avctl.kernels.attention_backends import BACKENDS, Asked, attention_reference
from avctl.kernels.attention_choice import choose
from avctl.kernels.attention_flops import attention_flops
from avctl.kernels.dispatch import is_exported
from avctl.kernels.segments import Segments

__all__ = ["attention", "attention_flops", "attention_reference"]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: Segments,
    keys: Segments | None = None,
    padding: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """q (S, N, K), k and v (S', N, K), which may be views of packed queries, keys and values (S, 3, N, K) -> (S, N, K).

    `keys` are as many sequences as `queries`, or None: the same. `padding` (S',) is True for keys that exist. `backend`
    is a name of `BACKENDS`, or None: what the process uses. ValueError for shapes, formats and devices that do not fit
    together, MachineError for a backend that cannot be used for them.
    """
    keys = queries if keys is None else keys
    _check(q, k, v, queries, keys, padding)
    if is_exported() and queries.is_batch(q.shape[0]) and keys.is_batch(k.shape[0]):
        return _plain(q, k, v, queries, keys, padding)
    if not q.numel() or not k.numel():  # which kernels of a GPU do not take
        return q.masked_fill(torch.ones((), dtype=torch.bool, device=q.device), 0) + (k.sum() + v.sum())
    inputs = q, k, v, queries, keys, padding
    with torch.autocast(q.device.type, enabled=False):
        return BACKENDS[choose(_asked(*inputs), backend, inputs)].run(*inputs)


def _plain(q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, padding: Tensor | None) -> Tensor:
    """A batch, in an operation that all programs know."""
    batches = (x.transpose(1, 2) for x in (queries.batch(q), keys.batch(k), keys.batch(v)))  # each B N S K
    mask = None if padding is None else keys.batch(padding)[:, None, None]
    return scaled_dot_product_attention(*batches, attn_mask=mask).transpose(1, 2).flatten(0, 1)


def _asked(q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, padding: Tensor | None) -> Asked:
    """Of plain numbers: what are symbols in a program that is traced become numbers, on which it then depends."""
    is_batch = all((queries.is_batch(q.shape[0]), keys.is_batch(k.shape[0])))
    at_once = q.shape[0] if is_batch else queries.longest
    return Asked(
        q.device,
        q.dtype,
        index(q.shape[2]),
        is_batch=is_batch,
        is_cross=keys is not queries,
        is_padded=padding is not None,
        is_trained=torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad),
        is_deterministic=torch.are_deterministic_algorithms_enabled(),
        longest=_power(keys.longest),
        num_tokens=_power(q.shape[0]),
        at_once=_power(at_once),
        num_scores=_power(q.shape[1] * at_once * keys.longest + 1),
    )


def _power(number: int) -> int:
    """The smallest power of two that is not below."""
    power = 1
    while power < number:
        power *= 2
    return power


def _check(q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, padding: Tensor | None) -> None:
    if q.ndim != 3 or k.shape != v.shape or q.shape[1:] != k.shape[1:]:
        raise ValueError(
            f"q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}: (tokens, heads, channels) is needed"
        )
    if not q.dtype == k.dtype == v.dtype or not q.is_floating_point():
        raise ValueError(f"q, k, v are of {q.dtype}, {k.dtype}, {v.dtype}")
    if queries.count != keys.count:
        raise ValueError(f"{queries.count} sequences of queries, {keys.count} of keys")
    if padding is not None and (padding.shape != k.shape[:1] or padding.dtype != torch.bool):
        raise ValueError(f"padding {padding.dtype} {tuple(padding.shape)}: bool {(k.shape[0],)} is needed")
    places = (
        (queries.cu_seqlens, keys.cu_seqlens) if padding is None else (queries.cu_seqlens, keys.cu_seqlens, padding)
    )
    if any(x.device != q.device for x in (k, v, *places)):
        raise ValueError(f"q, k, v, segments, padding are on {[str(x.device) for x in (q, k, v, *places)]}")
