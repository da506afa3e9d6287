"""Softmax attention of queries over keys: the one place that decides in which form it is computed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q, k, v (B, S, N, K) -> (B, S, N, K).

    On a CPU 16-bit inputs are widened first: there PyTorch's bfloat16 kernel takes about five times as long as the
    float32 one, forward and backward.
    """
    dtype = v.dtype
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # each B N S K
    if v.device.type != "cpu":
        return scaled_dot_product_attention(q, k, v).transpose(1, 2)
    with torch.autocast("cpu", enabled=False):
        mixed = scaled_dot_product_attention(q.float(), k.float(), v.float())
    return mixed.transpose(1, 2).to(dtype)
