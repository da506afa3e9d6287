"""Attention in three forms that a processor computes, none of which is the fastest for all formats and lengths.

    sdpa           PyTorch's flash kernel in the format of the inputs
    sdpa_float32   the same on inputs widened to float32: on a processor its 16-bit backward is slow
    products       softmax(q k^T / sqrt(K)) v as plain products, which are quick in bfloat16; keeps N S S' weights

Sequences of equal length are a batch, a view of the row. Of rows of different lengths those that are equal are batches
again, gathered where they are not next to each other; one operator goes through them, as lengths are numbers that
`torch.compile` does not see. It keeps the logarithm of the sum of exponentials for backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from avctl.kernels.dispatch import operator
from avctl.kernels.segments import Segments

Batch = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]  # q, k, v (B, N, S, K), mask (B, 1, 1, S')
MOST_SCORES = 2**24  # at once in `products`: in 16 bits 32 MiB, above which C libraries ask the system for memory anew
flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def by_form(
    q: Tensor, k: Tensor, v: Tensor, queries: Segments, keys: Segments, padding: Tensor | None, form: str
) -> Tensor:
    """q (S, N, K), k and v (S', N, K), padding (S',) -> (S, N, K). Rows of different lengths: on a processor only."""
    if not (queries.is_batch(q.shape[0]) and keys.is_batch(k.shape[0])):
        return _rows(q, k, v, queries.cu_seqlens, keys.cu_seqlens, padding, form)[0]
    batches = (x.transpose(1, 2) for x in (queries.batch(q), keys.batch(k), keys.batch(v)))  # each B N S K
    mask = None if padding is None else keys.batch(padding)[:, None, None]
    return FORMS[form](*batches, mask).transpose(1, 2).flatten(0, 1)


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return scaled_dot_product_attention(q, k, v, attn_mask=mask)


def sdpa_float32(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return sdpa(q.float(), k.float(), v.float(), mask).to(q.dtype)


def products(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return _weights(q, k, mask) @ v


FORMS: Mapping[str, Batch] = {"sdpa": sdpa, "sdpa_float32": sdpa_float32, "products": products}


def _weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """The softmax (B, N, S, S'), which is zero for a query without a key."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if mask is None:
        return scores.softmax(-1)
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~mask, 0)


class Sequences(NamedTuple):
    """Sequences of equal length, as a batch. Those next to each other are a slice of the row, others are gathered."""

    rows: slice | Tensor
    key_rows: slice | Tensor
    count: int

    def queries(self, x: Tensor) -> Tensor:
        """x (S, N, ...) -> (B, N, S of each, ...)."""
        return _taken(x, self.rows).unflatten(0, (self.count, -1)).transpose(1, 2)

    def keys(self, x: Tensor) -> Tensor:
        return _taken(x, self.key_rows).unflatten(0, (self.count, -1)).transpose(1, 2)

    def mask(self, padding: Tensor | None) -> Tensor | None:
        """(B, 1, 1, S'), True where there is a key."""
        return None if padding is None else _taken(padding, self.key_rows).view(self.count, 1, 1, -1)


def _taken(x: Tensor, rows: slice | Tensor) -> Tensor:
    return x[rows] if isinstance(rows, slice) else x.index_select(0, rows)


def _put(x: Tensor, rows: slice | Tensor, batch: Tensor) -> None:
    """The inverse of `Sequences.queries`: batch (B, N, S of each, ...) to rows of x (S, N, ...)."""
    made = batch.transpose(1, 2)
    if isinstance(rows, slice):
        x[rows].unflatten(0, made.shape[:2]).copy_(made)
    else:
        x.index_copy_(0, rows, made.flatten(0, 1).to(x.dtype))


def _by_length(cu_queries: Tensor, cu_keys: Tensor, heads: int) -> Iterator[Sequences]:
    """Those with queries and keys: without, attention and all gradients are zero. None has more than MOST_SCORES,
    unless a single sequence has."""
    begins, key_begins = cu_queries.tolist(), cu_keys.tolist()
    of_lengths: dict[tuple[int, int], list[int]] = {}
    for number, lengths in enumerate(zip(cu_queries.diff().tolist(), cu_keys.diff().tolist(), strict=True)):
        of_lengths.setdefault(lengths, []).append(number)
    for (length, key_length), numbers in of_lengths.items():
        if length * key_length:
            most = max(1, MOST_SCORES // (heads * length * key_length))
            for first in range(0, len(numbers), most):
                some = numbers[first : first + most]
                rows = _rows_of([begins[i] for i in some], length)
                yield Sequences(rows, _rows_of([key_begins[i] for i in some], key_length), len(some))


def _rows_of(begins: list[int], length: int) -> slice | Tensor:
    """Of sequences of one length that begin there."""
    if all(after - before == length for before, after in pairwise(begins)):
        return slice(begins[0], begins[-1] + length)
    return (torch.tensor(begins)[:, None] + torch.arange(length)).flatten()


@operator("avctl::attention_rows")
def _rows(
    q: Tensor, k: Tensor, v: Tensor, cu_queries: Tensor, cu_keys: Tensor, padding: Tensor | None, form: str
) -> tuple[Tensor, Tensor]:
    """Attention (S, N, K), and the logarithm of the sum of exponentials (S, N), which `products` does without."""
    out, sums = torch.zeros(q.shape, dtype=q.dtype), torch.zeros(q.shape[:2], dtype=_wide(q.dtype))
    for each in _by_length(cu_queries, cu_keys, q.shape[1]):
        batches, mask = (each.queries(q), each.keys(k), each.keys(v)), each.mask(padding)
        if form == "products":
            _put(out, each.rows, products(*batches, mask))
        else:
            batches = [x.to(_format(form, q)) for x in batches]
            made, kept = flash(*batches, attn_mask=_added(mask, batches[0].dtype))
            _put(out, each.rows, made)
            _put(sums, each.rows, kept)
    return out, sums


@_rows.register_fake
def _(q: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    return q.new_empty(q.shape), q.new_empty(q.shape[:2], dtype=_wide(q.dtype))


@operator("avctl::attention_rows_backward")
def _rows_backward(
    dout: Tensor, q: Tensor, k: Tensor, v: Tensor, cu_queries: Tensor, cu_keys: Tensor, padding: Tensor | None,
    out: Tensor, sums: Tensor, form: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dq, dk, dv."""
    dq, dk, dv = (torch.zeros(x.shape, dtype=x.dtype) for x in (q, k, v))
    for each in _by_length(cu_queries, cu_keys, q.shape[1]):
        batches, mask = (each.queries(dout), each.queries(q), each.keys(k), each.keys(v)), each.mask(padding)
        if form == "products":
            made = _products_backward(*batches, mask)
        else:
            batches = [x.to(_format(form, q)) for x in (*batches, each.queries(out))]
            added = _added(mask, batches[0].dtype)
            made = flash_backward(*batches, each.queries(sums), 0.0, False, attn_mask=added)
        for total, rows, gradient in zip((dq, dk, dv), (each.rows, each.key_rows, each.key_rows), made, strict=True):
            _put(total, rows, gradient)
    return dq, dk, dv


@_rows_backward.register_fake
def _(dout: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _products_backward(
    dout: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    weights = _weights(q, k, mask)
    dscores = torch._softmax_backward_data(dout @ v.mT, weights, -1, q.dtype) * q.shape[-1] ** -0.5
    return dscores @ k, dscores.mT @ q, weights.mT @ dout


def _added(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """What is added to the scores of keys."""
    return None if mask is None else torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -torch.inf)


def _format(form: str, x: Tensor) -> torch.dtype:
    return torch.float32 if form == "sdpa_float32" else x.dtype


def _wide(dtype: torch.dtype) -> torch.dtype:
    """In which sums of exponentials are kept."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.form = inputs
    ctx.save_for_backward(*tensors, *output)


def _differentiate(ctx, dout: Tensor, _: Tensor) -> tuple:
    return *_rows_backward(dout, *ctx.saved_tensors, ctx.form), *(None,) * 4


_rows.register_autograd(_differentiate, setup_context=_save)
