"""What is kept for the backward pass: everything, what is dear to compute again, or only the inputs of blocks.

Selective activation recomputation (Korthikanti et al. 2022): products with weights and fused attention are kept, and
norms, rotations, activations and residuals, which only move numbers, are computed again by the operations of
`avctl.kernels`. Of the products the smallest, from the heads back to the residual stream, is computed again too: a
thirty-sixth of the arithmetic of a block for a twelfth of what it keeps. So is attention in plain products, which keeps
a weight for every pair of tokens.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from avctl.models.blocks import JointBlock
from avctl.schema.runtime import Recompute

aten = torch.ops.aten
DEAR = {
    aten.mm.default,
    aten.addmm.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_fused_attention_overrideable.default,
    aten._efficient_attention_forward.default,
    torch.ops.avctl.attention_rows.default,
    torch.ops.avctl.flash_rows.default,
    torch.ops.avctl.av_window_attention.default,
}


def recompute(model: nn.Module, kind: Recompute, device: torch.device) -> None:
    """Have the transformer blocks of the model keep less, for gradients that are the same to the bit."""
    if kind == "auto":
        kind = "cheap" if device.type == "cuda" else "nothing"
    if kind == "nothing":
        return
    options = {"use_reentrant": False, "preserve_rng_state": False, "determinism_check": "none"}  # nothing is drawn
    if kind == "cheap":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    for block in model.modules():
        if isinstance(block, JointBlock):
            block.forward = partial(checkpoint, block.forward, **options)  # pyright: ignore[reportAttributeAccessIssue]


def _policy(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    is_dear = operation in DEAR or operation.namespace == "flash_attn"  # the package's own operators
    if not is_dear or (operation == aten.mm.default and args[1].shape[0] == args[1].shape[1]):
        return CheckpointPolicy.PREFER_RECOMPUTE
    return CheckpointPolicy.MUST_SAVE
