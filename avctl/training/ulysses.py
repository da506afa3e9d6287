"""Attention of one row of tokens by several ranks: DeepSpeed-Ulysses (Jacobs et al. 2023, arXiv 2309.14509).

Each of R ranks has S / R tokens next to each other, with all of their N heads. An all-to-all gives it all S tokens of
N / R heads, which attend without knowing of the others; another one brings its own tokens back. Both are their own
backward. What a rank sends and receives, 4 S N K (R - 1) / R^2 numbers in forward and again in backward, gets less as
ranks are added.

Every rank needs as many tokens. A row that R does not divide ends in a sequence of padding, which attends to itself
and which nobody looks at: `padded` has its length, `own` cuts what belongs to tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.distributed._functional_collectives import all_to_all_single_autograd

Operation = Callable[..., Tensor]


def ulysses(operation: Operation, group: ProcessGroup) -> Operation:
    """`operation` takes q (S, N, K), k and v (S', N, K) and more, and gives (S, N, K). What it becomes takes and gives
    the tokens of this rank, q (S / R, N, K), k and v (S' / R, N, K), and the rest as it is: segments, padding and maps
    are those of the whole row. ValueError where R does not divide N.
    """

    def parallel(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if q.shape[1] % group.size():
            raise ValueError(f"{q.shape[1]} heads cannot be shared by {group.size()} ranks: none is cut")
        whole = (_all_tokens(x, group) for x in (q, k, v))
        return _own_tokens(operation(*whole, *args, **kwargs), group)

    return operation if group.size() == 1 else parallel


def padded(lengths: Tensor, ranks: int) -> Tensor:
    """lengths (n,) of sequences -> (n + 1,): the last one is padding, so that `ranks` divide the tokens."""
    return torch.cat([lengths, -lengths.sum()[None] % ranks])


def own(x: Tensor, group: ProcessGroup) -> Tensor:
    """x (S, ...) of all tokens -> those of this rank, (S / R, ...), with zeros for padding at the end of the row."""
    rows = -(-x.shape[0] // group.size())
    part = x[group.rank() * rows :][:rows]
    return torch.cat([part, x.new_zeros((rows - part.shape[0], *x.shape[1:]))])


def _all_tokens(x: Tensor, group: ProcessGroup) -> Tensor:
    """x (S / R, N, K) -> (S, N / R, K)."""
    by_rank = x.unflatten(1, (group.size(), -1)).transpose(0, 1)  # R, S / R, N / R, K: the heads of each rank
    return _exchange(by_rank, group).flatten(0, 1)


def _own_tokens(x: Tensor, group: ProcessGroup) -> Tensor:
    """x (S, N / R, K) -> (S / R, N, K)."""
    by_rank = x.unflatten(0, (group.size(), -1))  # R, S / R, N / R, K: the tokens of each rank
    return _exchange(by_rank, group).transpose(0, 1).flatten(1, 2)


def _exchange(x: Tensor, group: ProcessGroup) -> Tensor:
    """x (R, ...): part r goes to rank r, and in its place is what rank r had for this one."""
    ones = [1] * group.size()
    return all_to_all_single_autograd(x.contiguous(), ones, ones, group)
