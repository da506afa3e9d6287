"""Random generators made of what they are for, so that no draw depends on what was drawn before."""

from __future__ import annotations

import hashlib

import torch


def seeded(*key: int | str) -> torch.Generator:
    """A CPU generator for a key such as (recipe seed, stage, purpose, step)."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
