"""Modified discrete cosine transform with a sine window: critically sampled and exactly invertible.

X_k = sqrt(2/M) sum_n w_n x_n cos(pi/M (n + 1/2 + M/2) (k + 1/2)), M = hop, window of 2M, overlap-add back
(Princen, Johnson and Bradley 1987). Coefficients are companded, sign(x) log(1 + |x|/s), so that quiet
partials weigh as much as loud ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import fold, pad

from avctl.codecs.codec import AudioCodec
from avctl.schema import MDCT

SCALE = 0.02  # s: coefficients below it are passed nearly linearly


class MDCTCodec(AudioCodec):
    basis: Tensor

    def __init__(self, spec: MDCT, num_channels: int):
        super().__init__()
        self.spec, self.hop, self.num_channels = spec, spec.hop, num_channels
        self.channels, hop = spec.hop * num_channels, spec.hop
        n, k = (torch.arange(count, dtype=torch.float64) + 0.5 for count in (2 * hop, hop))  # angles reach 1000 turns
        cosines = torch.cos(math.pi / hop * (n + hop / 2) * k[:, None])
        basis = (2 / hop) ** 0.5 * cosines * torch.sin(math.pi * n / (2 * hop))
        self.register_buffer("basis", basis.float(), persistent=False)

    def encode(self, samples: Tensor) -> Tensor:
        count = self.latent_frames(samples.shape[-1])
        padded = pad(samples, (self.hop, count * self.hop - samples.shape[-1]))
        windows = padded.unfold(-1, 2 * self.hop, self.hop)  # B channels F 2M
        coefficients = windows @ self.basis.T
        companded = coefficients.sign() * (coefficients.abs() / SCALE).log1p()
        return companded.transpose(1, 2).flatten(2)  # B F C

    def decode(self, latents: Tensor, samples: int) -> Tensor:
        companded = latents.unflatten(2, (self.num_channels, self.hop)).transpose(1, 2)
        windows = (companded.sign() * SCALE * companded.abs().expm1()) @ self.basis  # B channels F 2M
        length = (windows.shape[2] + 1) * self.hop
        columns = windows.flatten(0, 1).transpose(1, 2)  # B*channels 2M F
        summed = fold(columns, (1, length), (1, 2 * self.hop), stride=(1, self.hop))
        return summed.view(len(latents), self.num_channels, length)[..., self.hop : self.hop + samples]
