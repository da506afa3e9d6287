"""The network of TransNetV2 (Soucek and Lokoc 2020, arXiv 2008.04838) for inference with its published weights.

Three stacks of two blocks see frames at 27x48, 13x24 and 6x12; a block is four separable 3-D convolutions, dilated by
1, 2, 4 and 8 frames. They run as 2-D convolutions over all frames, then over all pixels, channels last, which takes a
fifth less time on a CPU than 3-D ones; batch normalization is folded into the latter. Two heads: the frame at which a
shot ends, and all frames of a change.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DILATIONS = (1, 2, 4, 8)
STACKS, BLOCKS = 3, 2
LOOKUP = 50  # frames each way with which a frame is compared
_BATCH_NORM_EPS = 1e-3


class TransNetV2(nn.Module):
    """Built of the published state; in eval mode for good."""

    def __init__(self, state: Mapping[str, Tensor]):
        super().__init__()
        self.stacks = nn.ModuleList(
            nn.ModuleList(_Block(state, f"SDDCNN.{stack}.DDCNN.{block}.") for block in range(BLOCKS))
            for stack in range(STACKS)
        )
        self.project = _linear(state, "frame_sim_layer.projection")
        self.similarity = _linear(state, "frame_sim_layer.fc")
        self.histogram = _linear(state, "color_hist_layer.fc")
        self.hidden = _linear(state, "fc1")
        self.ends, self.changes = _linear(state, "cls_layer1"), _linear(state, "cls_layer2")
        self.requires_grad_(False)

    def forward(self, frames: Tensor) -> Tensor:
        """frames (T, 27, 48, 3) uint8 RGB -> (T, 2): how likely a shot ends at the frame; that it is in a change."""
        x = frames.permute(0, 3, 1, 2).float().div(255)  # T C H W, channels last
        means = []
        for first, second in self.stacks:  # pyright: ignore[reportGeneralTypeIssues]
            x = first(x).relu()
            x = F.avg_pool2d(second(x).relu() + x, 2)
            means.append(x.mean((2, 3)))
        alike = F.normalize(self.project(torch.cat(means, 1)), dim=1)
        features = torch.cat(
            [
                self.histogram(_lookup(_histograms(frames))).relu(),
                self.similarity(_lookup(alike)).relu(),
                x.permute(0, 2, 3, 1).flatten(1),
            ],
            dim=1,
        )
        hidden = self.hidden(features).relu()
        return torch.cat([self.ends(hidden), self.changes(hidden)], 1).sigmoid()


class _Block(nn.Module):
    """Four dilated separable convolutions side by side: (T, C, H, W) -> (T, 4 * filters, H, W)."""

    def __init__(self, state: Mapping[str, Tensor], name: str):
        super().__init__()
        scale = state[name + "bn.weight"] / (state[name + "bn.running_var"] + _BATCH_NORM_EPS).sqrt()
        shift = state[name + "bn.bias"] - state[name + "bn.running_mean"] * scale
        for dilation, gain, bias in zip(DILATIONS, scale.chunk(4), shift.chunk(4), strict=True):
            layers = f"{name}Conv3D_{dilation}.layers."
            space = state[layers + "0.weight"].squeeze(2)  # O C 3 3
            time = state[layers + "1.weight"].squeeze(4) * gain[:, None, None, None]  # O C 3 1
            for kind, tensor in (("space", space), ("time", time)):
                self.register_buffer(f"{kind}{dilation}", tensor.contiguous(memory_format=torch.channels_last))
            self.register_buffer(f"bias{dilation}", bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        num_frames, _, height, width = x.shape
        parts = []
        for dilation in DILATIONS:
            space, time, bias = (self.get_buffer(f"{kind}{dilation}") for kind in ("space", "time", "bias"))
            y = F.conv2d(x, space, padding=1).permute(0, 2, 3, 1)  # T H W C
            y = y.reshape(1, num_frames, height * width, -1).permute(0, 3, 1, 2)  # 1 C T (H W), channels last
            parts.append(F.conv2d(y, time, bias, padding=(dilation, 0), dilation=(dilation, 1)))
        return torch.cat(parts, 1)[0].unflatten(2, (height, width)).transpose(0, 1)


def _histograms(frames: Tensor) -> Tensor:
    """frames (T, H, W, 3) -> (T, 512) counts of 8x8x8 colours, of unit length."""
    coarse = frames.flatten(1, 2).long() >> 5
    bins = (coarse[..., 0] << 6) + (coarse[..., 1] << 3) + coarse[..., 2]  # T (H W)
    counts = torch.zeros(len(frames), 512).scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.float32))
    return F.normalize(counts, dim=1)


def _lookup(vectors: Tensor) -> Tensor:
    """vectors (T, C) -> (T, 101): products with those of the frames around; zero beyond the ends."""
    products = F.pad(vectors @ vectors.T, (LOOKUP, LOOKUP))
    at = torch.arange(len(vectors))[:, None] + torch.arange(2 * LOOKUP + 1)
    return products.gather(1, at)


def _linear(state: Mapping[str, Tensor], name: str) -> nn.Linear:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer
