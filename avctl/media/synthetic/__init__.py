"""Clips of a small world in which sound and picture come from the same events, known in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from avctl.media.synthetic.caption import caption
from avctl.media.synthetic.picture import picture
from avctl.media.synthetic.sound import sound
from avctl.media.synthetic.world import draw, unseen_triples
from avctl.schema import Synthetic


@dataclass(frozen=True)
class Scene:
    """A rendered clip: frames (T, H, W, 3) uint8, audio (samples, 2) float32, and everything that is known of it."""

    frames: np.ndarray
    audio: np.ndarray
    caption: str
    truth: dict[str, Any]
    split: str | None  # `unseen`, or left to the recipe


def render(index: int, spec: Synthetic) -> Scene:
    """Clip number `index` of the world `spec.seed`: equal arguments give equal bytes on one machine."""
    world = draw(index, spec)
    hiss = np.random.Generator(np.random.PCG64([spec.seed, index, 1]))  # a stream of its own beside that of the draw
    is_unseen = (world.colour, world.shape, world.family) in unseen_triples(spec.unseen)
    return Scene(
        frames=picture(world, spec.size, spec.fps),
        audio=sound(world, spec.sample_rate, hiss),
        caption=caption(world),
        truth=world.truth,
        split="unseen" if is_unseen else None,
    )
