"""The order of clips in every epoch: a function of (seed, epoch), so resuming needs no state but a position.

Clips are shuffled within groups of files, and the files before that: a data set larger than memory is read a group at a
time. Where all files fit into one group, an epoch is one permutation of all clips.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache

import torch

from avctl.compute.seed import seeded

FILES_AT_ONCE = 64  # of up to 256 MB: 16 GB, which the page cache of a node holds


class Order:
    """Epochs over `count` clips, each a permutation of its own. `files` says in which file each clip lies."""

    def __init__(self, count: int, seed: int, files: Sequence[Hashable] = ()):
        if count <= 0:
            raise ValueError("there are no clips to order")
        if files and len(files) != count:
            raise ValueError(f"{len(files)} files for {count} clips: each lies in one")
        self.count, self.seed, self.files = count, seed, files
        self.epoch = lru_cache(maxsize=2)(self._epoch)

    def __reduce__(self) -> tuple[type[Order], tuple[int, int, Sequence[Hashable]]]:
        return Order, (self.count, self.seed, self.files)

    def _epoch(self, number: int) -> list[int]:
        """Indices of all clips, each once."""
        by_file: dict[Hashable, list[int]] = {}
        for clip, file in enumerate(self.files):
            by_file.setdefault(file, []).append(clip)
        if len(by_file) <= FILES_AT_ONCE:
            return self._shuffled(list(range(self.count)), "order", number)
        files = self._shuffled(list(by_file.values()), "files", number)
        groups = [files[first : first + FILES_AT_ONCE] for first in range(0, len(files), FILES_AT_ONCE)]
        clips = [[clip for file in group for clip in file] for group in groups]
        return [clip for i, group in enumerate(clips) for clip in self._shuffled(group, "order", number, i)]

    def _shuffled(self, items: list, *key: int | str) -> list:
        return [items[i] for i in torch.randperm(len(items), generator=seeded(self.seed, *key)).tolist()]
