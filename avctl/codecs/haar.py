"""Space-time Haar wavelet: orthonormal, so exactly invertible and nothing to train.

A cell of `time` frames and `down` x `down` pixels becomes C = 3 * time * down^2 coefficients, its mean first.
One step along an axis is (a + b) / sqrt(2), (a - b) / sqrt(2); sums are split again until one is left.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from avctl.codecs.codec import VideoCodec
from avctl.schema import Haar


class HaarCodec(VideoCodec):
    basis_time: Tensor
    basis_space: Tensor

    def __init__(self, spec: Haar):
        super().__init__()
        self.down, self.time, self.channels = spec.down, spec.time, 3 * spec.time * spec.down**2
        self.register_buffer("basis_time", haar_basis(spec.time))
        self.register_buffer("basis_space", haar_basis(spec.down))

    def encode(self, frames: Tensor) -> Tensor:
        cells = rearrange(frames, "b (f t) c (h y) (w x) -> b f h w c t y x", t=self.time, y=self.down, x=self.down)
        coefficients = torch.einsum("bfhwctyx,it,jy,kx->bfijkchw", cells, *self._bases)
        return coefficients.flatten(2, 5) / self._gain

    def decode(self, latents: Tensor) -> Tensor:
        coefficients = (latents * self._gain).unflatten(2, (self.time, self.down, self.down, 3))
        cells = torch.einsum("bfijkchw,it,jy,kx->bfhwctyx", coefficients, *self._bases)
        return rearrange(cells, "b f h w c t y x -> b (f t) c (h y) (w x)")

    @property
    def _bases(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.basis_time, self.basis_space, self.basis_space

    @property
    def _gain(self) -> float:
        """Keeps the mean coefficient in the range of pixels."""
        return self.down * self.time**0.5


def haar_basis(n: int) -> Tensor:
    """Rows of the orthonormal Haar basis of length n, a power of two: (n, n), the mean first."""
    basis = torch.ones(1, 1)
    while len(basis) < n:
        sums = torch.kron(basis, torch.tensor([[1.0, 1.0]]))
        differences = torch.kron(torch.eye(len(basis)), torch.tensor([[1.0, -1.0]]))
        basis = torch.cat([sums, differences]) / 2**0.5
    return basis
