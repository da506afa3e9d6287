"""`av_window_attention` on a processor: a block of queries at a time, with the keys of its live blocks.

Keys of dead blocks are not read, those of full ones not masked. Forward is PyTorch's attention; its backward is less
exact than that of products and a softmax, which therefore computes weights again. 16-bit numbers are widened first, as
processors multiply float16 a hundred times as slowly; bfloat16 is not where forward has AMX for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from avctl.kernels.windows import BlockMap, Part, live, parts


def attend(q: Tensor, k: Tensor, v: Tensor, map: BlockMap, scale: float) -> tuple[Tensor, Tensor]:
    """The output (S, N, K), and in place of lse (N, S), which backward does not need, zeros."""
    in_bfloat16 = q.dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported()
    format = q.dtype if in_bfloat16 else wide(q.dtype)
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
    format = lse.dtype
    douts, queries, keys, values = (_by_head(x, format) for x in (dout, q, k, v))
    dq, dk, dv = (torch.zeros_like(x) for x in (queries, keys, values))
    for part in _alive(map):
        own, upstream, others = queries[:, part.queries] * scale, douts[:, part.queries], _taken(keys, part.keys)
        weights = _weights(own, others, map, part)
        dweights = upstream @ _taken(values, part.keys).mT
        dscores = dweights.sub_(torch.linalg.vecdot(dweights, weights)[..., None]).mul_(weights)
        torch.mul(dscores @ others, scale, out=dq[:, part.queries])
        _add(dk, part.keys, dscores.mT @ own)
        _add(dv, part.keys, weights.mT @ upstream)
    return tuple(x.transpose(0, 1).to(q.dtype).contiguous() for x in (dq, dk, dv))


def wide(format: torch.dtype) -> torch.dtype:
    """The format that is computed in."""
    return torch.promote_types(format, torch.float32)


def _alive(map: BlockMap) -> Iterator[Part]:
    """Blocks of queries that have live keys."""
    return (part for part in parts(map) if part.keys)


def _mask(map: BlockMap, part: Part, format: torch.dtype) -> Tensor:
    """What is added to the scores of a part, (queries, keys): minus infinity where a pair is dead."""
    dead = torch.cat([~live(map, part.queries, keys) for keys in part.partial], dim=1)
    mask = torch.zeros((len(dead), sum(keys.stop - keys.start for keys in part.keys)), dtype=format, device=dead.device)
    mask[:, -dead.shape[1] :].masked_fill_(dead, -inf)
    return mask


def _weights(own: Tensor, keys: Tensor, map: BlockMap, part: Part) -> Tensor:
    """Of the pairs of a part, (N, queries, keys); zeros where no key lives."""
    scores = own @ keys.mT
    if not part.partial:
        return scores.softmax(-1)
    mask = _mask(map, part, own.dtype)
    weights = scores.add_(mask).softmax(-1)
    return weights if part.full else weights.masked_fill_((mask == -inf).all(1, keepdim=True), 0.0)


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
