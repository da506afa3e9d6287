"""Patch n' pack (Dehghani et al. 2023): which clips, of any size and length, share a sequence of so many tokens.

Best fit over a window of the order: a pack begins with the clip that has waited longest, then takes the longest that
still fits. What would be the last pack of an epoch waits for the next one, where its clips come first: no step learns
from a few clips that were left. How many packs came before an epoch is counted by packing the epochs before it, 3 s a
million clips.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from functools import lru_cache

from avctl.data.order import Order

WINDOW = 256  # clips of the order that are looked at for the next pack


class Packs:
    """Endless packs of clips. `lengths` are the tokens of each clip, `budget` those of a pack."""

    def __init__(self, order: Order, lengths: Sequence[int], budget: int):
        """ValueError for a clip that is longer than a pack."""
        if max(lengths) > budget:
            raise ValueError(f"a clip of {max(lengths)} tokens does not fit into a pack of {budget}")
        self.order, self.lengths, self.budget = order, lengths, budget
        self._packed = lru_cache(maxsize=2)(self._pack)
        self._firsts = [0]  # numbers of the first packs of the epochs
        self._left: list[list[int]] = [[]]  # clips of the epochs before that come first in each

    def __reduce__(self) -> tuple[type[Packs], tuple[Order, Sequence[int], int]]:
        return Packs, (self.order, self.lengths, self.budget)

    def __call__(self, number: int) -> list[int]:
        """Indices of the clips of pack `number`."""
        while self._firsts[-1] <= number:
            self._firsts.append(self._firsts[-1] + len(self.epoch(len(self._firsts) - 1)))
        epoch = bisect_right(self._firsts, number) - 1
        return self.epoch(epoch)[number - self._firsts[epoch]]

    def epoch(self, number: int) -> list[list[int]]:
        """The packs that are full in an epoch: none where clips are few."""
        while len(self._left) <= number:
            self._packed(len(self._left) - 1)
        return self._packed(number)

    def waste(self, epoch: int = 0) -> float:
        """Share of the tokens of an epoch's packs that hold nothing; where there are none, of the first pack's."""
        packs = self.epoch(epoch) or [self(0)]
        return 1 - sum(self.lengths[clip] for pack in packs for clip in pack) / (self.budget * len(packs))

    def _pack(self, epoch: int) -> list[list[int]]:
        order, packs = [*self._left[epoch], *self.order.epoch(epoch)], []
        window = _Window([self.lengths[clip] for clip in order])
        while len(window):
            left, places = self.budget, []
            while (place := window.take(left, oldest=not places)) is not None:
                places.append(place)
                left -= self.lengths[order[place]]
            packs.append([order[place] for place in places])
        self._left[epoch + 1 : epoch + 2] = [packs.pop()]
        return packs


class _Window:
    """The next places of an order that are not taken yet, by length."""

    def __init__(self, lengths: Sequence[int]):
        self.lengths = lengths
        self.by_length: list[tuple[int, int]] = []  # length, minus the place: of equal lengths the oldest is the last
        self.taken: set[int] = set()
        self.oldest = self.end = 0  # places
        while self.end < min(WINDOW, len(lengths)):
            self._refill()

    def __len__(self) -> int:
        return len(self.by_length)

    def take(self, most: int, oldest: bool) -> int | None:
        """The place of the oldest clip, or of the longest that is no longer than `most`; None where there is none."""
        if oldest:
            entry = (self.lengths[self.oldest], -self.oldest)
            found = bisect_right(self.by_length, entry) - 1
        else:
            found = bisect_right(self.by_length, (most, 0)) - 1
        if found < 0:
            return None
        _, place = self.by_length.pop(found)
        self.taken.add(-place)
        while self.oldest in self.taken:
            self.taken.remove(self.oldest)
            self.oldest += 1
        self._refill()
        return -place

    def _refill(self) -> None:
        if self.end < len(self.lengths):
            insort(self.by_length, (self.lengths[self.end], -self.end))
            self.end += 1
