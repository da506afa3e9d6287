"""`av_window_attention` on a processor: some blocks of queries at a time, with the keys that live for one of them.

Keys that are dead for all of these are not read, those that are full for all not masked. Forward is PyTorch's
attention; its backward takes three times as long as products and a softmax, and is less exact, so weights are computed
again. 16-bit numbers are widened first, as processors multiply float16 a hundred times as slowly, but for bfloat16
where there is AMX for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from avctl.kernels.windows import BlockMap, Part, live, parts

TOGETHER = 2  # blocks of queries: below 192 queries PyTorch's attention takes twice as long for each


def attend(q: Tensor, k: Tensor, v: Tensor, map: BlockMap, scale: float) -> tuple[Tensor, Tensor]:
    """The output (S, N, K), and in place of lse (N, S), which backward does not need, zeros."""
    format = _computed_in(q.dtype)
    out = torch.zeros(q.shape, dtype=q.dtype, device=q.device)
    queries, keys, values = (_by_head(x, format) for x in (q, k, v))
    for part in _alive(map):
        qkv = queries[:, part.queries], _taken(keys, part.keys), _taken(values, part.keys)
        mask = _mask(map, part, format) if part.partial else None
        mixed = scaled_dot_product_attention(*(x[None] for x in qkv), attn_mask=mask, scale=scale)
        out[part.queries] = mixed[0].transpose(0, 1)
    return out, torch.zeros((q.shape[1], len(q)), dtype=wide(q.dtype), device=q.device)


def differentiate(
    dout: Tensor, out: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, map: BlockMap, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """dq, dk and dv, each (S, N, K)."""
    format = _computed_in(q.dtype)
    douts, queries, keys, values = (_by_head(x, format) for x in (dout, q, k, v))
    dq, dk, dv = (torch.zeros_like(x, dtype=lse.dtype) for x in (queries, keys, values))
    for part in _alive(map):
        of_part = queries[:, part.queries], _taken(keys, part.keys), _taken(values, part.keys), douts[:, part.queries]
        dqueries, dkeys, dvalues = _differentiate_part(*of_part, map, part, scale)
        dq[:, part.queries] = dqueries
        _add(dk, part.keys, dkeys)
        _add(dv, part.keys, dvalues)
    gradients = dq.mul_(scale), dk.mul_(scale), dv
    return tuple(x.transpose(0, 1).to(q.dtype).contiguous() for x in gradients)


def _differentiate_part(
    queries: Tensor, keys: Tensor, values: Tensor, upstream: Tensor, map: BlockMap, part: Part, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the queries and of their keys and values, the first two without `scale`."""
    weights = _weights(queries, keys, map, part, scale)
    dweights = upstream @ values.mT
    dscores = torch.ops.aten._softmax_backward_data.out(dweights, weights, -1, weights.dtype, grad_input=dweights)
    return dscores @ keys, dscores.mT @ queries, weights.mT @ upstream


def wide(format: torch.dtype) -> torch.dtype:
    """The format that sums are kept in."""
    return torch.promote_types(format, torch.float32)


def _computed_in(format: torch.dtype) -> torch.dtype:
    is_fast = format == torch.bfloat16 and torch.cpu._is_amx_tile_supported()
    return format if is_fast else wide(format)


def _alive(map: BlockMap) -> Iterator[Part]:
    """Queries that have live keys."""
    return (part for part in parts(map, TOGETHER) if part.keys)


def _dead(map: BlockMap, part: Part) -> Tensor:
    """Which pairs of a part with its `partial` keys do not live, (queries, keys)."""
    return torch.cat([~live(map, part.queries, keys) for keys in part.partial], dim=1)


def _mask(map: BlockMap, part: Part, format: torch.dtype) -> Tensor:
    """What is added to the scores of a part, (queries, keys): minus infinity where a pair is dead."""
    dead = _dead(map, part)
    mask = torch.zeros((len(dead), sum(keys.stop - keys.start for keys in part.keys)), dtype=format, device=dead.device)
    mask[:, -dead.shape[1] :].masked_fill_(dead, -inf)
    return mask


def _weights(own: Tensor, keys: Tensor, map: BlockMap, part: Part, scale: float) -> Tensor:
    """Of the pairs of a part, (N, queries, keys); zeros where no key lives."""
    scores = torch.baddbmm(own.new_empty(()), own, keys.mT, beta=0, alpha=scale)  # rounds once
    if not part.partial:
        return scores.softmax(-1)
    dead = _dead(map, part)
    scores[..., -dead.shape[1] :].masked_fill_(dead, -inf)
    weights = scores.softmax(-1)
    return weights if part.full else weights.masked_fill_(dead.all(1, keepdim=True), 0.0)


def _by_head(x: Tensor, format: torch.dtype) -> Tensor:
    """x (S, N, K) -> (N, S, K), side by side."""
    return x.transpose(0, 1).to(format).contiguous()


def _taken(x: Tensor, places: Sequence[slice]) -> Tensor:
    """Tokens of some places of x (N, S, K)."""
    return x[:, places[0]] if len(places) == 1 else torch.cat([x[:, place] for place in places], dim=1)


def _add(total: Tensor, places: Sequence[slice], x: Tensor) -> None:
    """x (N, tokens, K) to the tokens of some places."""
    lengths = [place.stop - place.start for place in places]
    for place, piece in zip(places, x.split(lengths, dim=1), strict=True):
        total[:, place] += piece
