"""Sequences of any length, end to end in one row of tokens: patch n' pack (Dehghani et al. 2023).

A sequence is what attends to itself: the text, picture and sound of a clip. Nothing is padded, and a sequence may be
empty. Where all sequences are equally long, the row is a batch, which numbers on the host alone tell: n longest = S.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad


class Segments(NamedTuple):
    """Where n sequences stand in a row of S tokens."""

    cu_seqlens: Tensor  # n + 1 int32: where each begins, and the end of the last, which is S
    longest: int  # tokens

    @property
    def count(self) -> int:
        """n."""
        return self.cu_seqlens.shape[0] - 1  # `len` would make a symbol a number

    def to(self, device: torch.device) -> Segments:
        """On a device."""
        return Segments(self.cu_seqlens.to(device), self.longest)

    def is_batch(self, num_tokens: int) -> bool:
        """Whether all sequences are equally long, in a row of so many tokens."""
        return self.count * self.longest == num_tokens

    def batch(self, x: Tensor) -> Tensor:
        """Rows x (S, ...) of sequences that are equally long -> (n, S / n, ...), a view."""
        return x.unflatten(0, (self.count, self.longest))

    def of_tokens(self, num_tokens: int) -> Tensor:
        """The sequence that each token of the row is in, (S,) int32."""
        tokens = torch.arange(num_tokens, device=self.cu_seqlens.device, dtype=torch.int32)
        if self.is_batch(num_tokens):
            return tokens // max(1, self.longest)
        return torch.searchsorted(self.cu_seqlens[1:], tokens, right=True, out_int32=True)

    def index_of_tokens(self, num_tokens: int) -> Tensor:
        """Which token of its sequence each is, (S,) int32."""
        tokens = torch.arange(num_tokens, device=self.cu_seqlens.device, dtype=torch.int32)
        return tokens - self.cu_seqlens.index_select(0, self.of_tokens(num_tokens))


def segments(lengths: Tensor) -> Segments:
    """lengths (n,) integers of at least 0, on a processor: nothing waits for a GPU. ValueError for others."""
    if lengths.device.type != "cpu" or lengths.ndim != 1 or lengths.is_floating_point():
        raise ValueError(f"lengths {lengths.dtype} {tuple(lengths.shape)} on {lengths.device}: integers on a processor")
    if len(lengths) and int(lengths.min()) < 0:
        raise ValueError(f"lengths {lengths.tolist()}: at least 0 is needed")
    longest = int(lengths.max()) if len(lengths) else 0
    return Segments(pad(lengths.cumsum(0), (1, 0)).int(), longest)


def batch_segments(count: int, length: int, device: torch.device) -> Segments:
    """A batch of `count` sequences of `length` tokens, which may be symbols of a program that is exported."""
    return Segments(length * torch.arange(count + 1, device=device, dtype=torch.int32), length)
