"""Classifier-free guidance (Ho and Salimans 2022) with a negative prompt, for any mask of given frames."""

from __future__ import annotations

import torch
from torch import Tensor

from avctl.diffusion import flow
from avctl.diffusion.solvers import Velocity
from avctl.models.generator import Generator
from avctl.models.latents import Latents
from avctl.schema import Flow


def guided_velocity(
    model: Generator, spec: Flow, given: Latents, tokens: Tensor, negative: Tensor, guidance: float
) -> Velocity:
    """v = v_neg + guidance (v - v_neg), zero where given (B, F); tokens and negative as `model.tokenize` makes them.

    At guidance 1 the negative prompt has no influence, and the model runs once instead of twice.
    """
    is_guided = guidance != 1
    free = given.map(lambda mask: 1 - mask)
    masks = given.map(lambda mask: torch.cat([mask, mask])) if is_guided else given
    prompts = torch.cat([tokens, negative]) if is_guided else tokens

    def extrapolate(v: Tensor) -> Tensor:
        wanted, unwanted = v.chunk(2)
        return torch.lerp(unwanted, wanted, guidance)

    def velocity(x: Latents, t: float) -> Latents:
        both = x.map(lambda x: torch.cat([x, x])) if is_guided else x
        time = torch.full((len(both.video),), t, device=x.video.device)
        output = model(both, time, masks, prompts)
        v = output.map(lambda out, x: flow.velocity(spec, out.float(), x, time), both)
        if is_guided:
            v = v.map(extrapolate)
        return v.map(lambda v, f: v * flow.over(f, v), free)

    return velocity
