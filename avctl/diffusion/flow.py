"""Flow matching on a straight path: x_t = t x1 + (1 - t) x0, from noise x0 to data x1, velocity x1 - x0.

Lipman et al. 2023 with the optimal-transport path; t logit-normal as in Esser et al. 2024. The noise of training is
made of seeds, one for each clip and modality, wherever it is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from avctl.kernels.flow_loss import flow_loss, flow_mix
from avctl.kernels.segments import Segments
from avctl.models.latents import Tracks
from avctl.models.packing import Packing
from avctl.schema import Flow


def draw_times(flow: Flow, count: int, generator: torch.Generator) -> Tensor:
    """t (count,) = sigmoid(normal(mean, std))."""
    return torch.sigmoid(flow.mean + flow.std * torch.randn(count, generator=generator))


def draw_seeds(count: int, generator: torch.Generator) -> Tracks:
    """(count,) int64 each."""
    return Tracks(*torch.randint(-(2**63), 2**63 - 1, (2, count), generator=generator))


def start(clean: Tracks, noise: Tracks, given: Tracks) -> Tracks:
    """x_0 of tokens (S, M): noise, and clean wherever given (S,) is 1."""
    return clean.map(lambda c, n, g: torch.where(g[:, None] > 0, c, n), noise, given)


def mix(clean: Tracks, t: Tensor, given: Tracks, seeds: Tracks, packing: Packing) -> Tracks:
    """x_t of tokens (S, M): t (n,), and clean wherever given (S,) is 1."""
    parts = zip(clean, given, seeds, (packing.video, packing.audio), strict=True)
    return Tracks(*(flow_mix(clean, t, given, seeds, clips) for clean, given, seeds, clips in parts))


def shares(given: Tracks, packing: Packing) -> Tracks:
    """given (S,) -> the share of each token in its clip's loss: all that are free the same, given ones none."""

    def one(given: Tensor, clips: Segments) -> Tensor:
        free, clip = 1 - given, clips.of_tokens(len(given))
        counts = free.new_zeros(clips.count).index_add(0, clip, free)
        return free / counts.clamp(min=1).index_select(0, clip)

    return Tracks(one(given.video, packing.video), one(given.audio, packing.audio))


def loss(
    flow: Flow, output: Tracks, clean: Tracks, t: Tensor, share: Tracks, seeds: Tracks, packing: Packing
) -> Tracks:
    """Mean squared error of the velocity per clip, (n,) each, of tokens by their `shares`; 0 where there are none.

    Where the network predicts the clean clip, (output - x1) / (1 - t) is the same error; its weight is capped.
    """

    def one(output: Tensor, clean: Tensor, share: Tensor, seeds: Tensor, clips: Segments) -> Tensor:
        return flow_loss(output, clean, t, share, seeds, clips, flow.predict, flow.max_weight)

    parts = zip(output, clean, share, seeds, (packing.video, packing.audio), strict=True)
    return Tracks(*(one(*part) for part in parts))
