"""Classifier-free guidance (Ho and Salimans 2022) with a negative prompt, for any mask of given frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from avctl.diffusion.solvers import Step
from avctl.kernels.guided_euler_step import guided_euler_step
from avctl.models.generator import Generator
from avctl.models.latents import Tracks
from avctl.models.packing import Grid
from avctl.schema import Flow


def guided_step(
    model: Generator, spec: Flow, grids: Sequence[Grid], given: Tracks, words: Tensor, negative: Tensor, guidance: float
) -> Step:
    """A step along v = v_neg + guidance (v - v_neg), for tokens of clips of these sizes that are not given, (V,) and
    (A,); words and negative as `model.tokenize` makes them. There is no gradient.

    At guidance 1 the negative prompt has no influence, and the model runs once instead of twice.
    """
    times = 2 if guidance != 1 else 1  # what is wanted, what is not
    masks = given.map(lambda mask: mask.repeat(times))
    prompts = torch.cat([words, negative][:times])
    packing = model.pack([*grids] * times).to(words.device)

    def advance(x: Tracks, t: float, step: float) -> Tracks:
        time = torch.full((packing.joined.count,), t, device=words.device)
        output = model(x.map(lambda x: x.repeat(times, 1)), time, masks, prompts, packing)

        def move(x: Tensor, output: Tensor, given: Tensor) -> Tensor:
            wanted, unwanted = output.chunk(2) if times == 2 else (output, None)
            return guided_euler_step(x, wanted, unwanted, given, guidance, t, step, spec.predict)

        return x.map(move, output, given)

    return advance
