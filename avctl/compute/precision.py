"""In which number format the products of a step are computed."""

from __future__ import annotations

import torch

from avctl.schema.train import Dtype


def autocast(dtype: Dtype, device: torch.device) -> torch.autocast:
    """The context of a forward pass: bfloat16 products where asked for, or where `auto` finds hardware for them."""
    wanted = dtype == "bfloat16" or (dtype == "auto" and computes_in_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 natively: emulation on a CPU is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
