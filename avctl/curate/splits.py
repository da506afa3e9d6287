"""On which side of the data set a clip stands."""

from __future__ import annotations

import hashlib

from avctl.schema import Split


def side(sha256: str, split: Split, own: str | None) -> str:
    """`train`, `valid` or `test` by the hash of some content; `own` is what the source says, and it wins.

    The same content is always on the same side: a larger `test` takes from `valid`, and both from `train`.
    """
    if own:
        return own
    if split.kind != "random":
        return split.kind
    place = int.from_bytes(hashlib.sha256(f"split {sha256}".encode()).digest()[:8]) / 2**64  # uniform in [0, 1)
    if place < split.test:
        return "test"
    return "valid" if place < split.test + split.valid else "train"
