"""Which clips make up batch number k, where clips of one bucket only can stand in one batch.

Every bucket is a stream of its own: its clips in the order of epoch after epoch, cut into batches. A batch comes when
the epoch reaches its last clip. What is left of a bucket at the end of an epoch waits for the next one, so nothing is
lost: before epoch e, a bucket of n clips has given floor(e n / size) batches. With one bucket these are the epochs end
to end, cut into batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from math import ceil
from typing import Any, TypeVar

from avctl.data.order import Order

K = TypeVar("K", bound=Hashable)


class Batches:
    """Endless batches of clips of one bucket, a batch size each."""

    def __init__(self, order: Order, buckets: Sequence[Hashable], sizes: Mapping[Any, int]):
        """`buckets` has the bucket of each clip, `sizes` the clips a batch of each bucket."""
        self.order, self.buckets, self.sizes = order, buckets, sizes
        self.counts = Counter(buckets)
        self._streams = lru_cache(maxsize=4)(self._stream)
        self._plans = lru_cache(maxsize=2)(self._plan)

    def __reduce__(self) -> tuple[type[Batches], tuple[Order, Sequence[Hashable], Mapping[Any, int]]]:
        return Batches, (self.order, self.buckets, self.sizes)

    def __call__(self, number: int) -> list[int]:
        """Indices of the clips of batch `number`, all of one bucket."""
        rate = sum(count / self.sizes[bucket] for bucket, count in self.counts.items())
        bound = ceil((number + len(self.counts) + 1) / rate) + 1  # before this epoch there are more batches
        epoch = bisect_right(range(bound), number, key=self.before) - 1
        bucket, place = self._plans(epoch)[number - self.before(epoch)]
        size, count = self.sizes[bucket], self.counts[bucket]
        positions = range(place * size, (place + 1) * size)
        return [self._streams(p // count)[bucket][p % count][1] for p in positions]

    def before(self, epoch: int) -> int:
        """Batches before the first of an epoch."""
        return sum(epoch * count // self.sizes[bucket] for bucket, count in self.counts.items())

    def _stream(self, epoch: int) -> dict[Hashable, list[tuple[int, int]]]:
        """Each bucket's clips in the order of an epoch: (place in the epoch, clip)."""
        found: dict[Hashable, list[tuple[int, int]]] = {bucket: [] for bucket in self.counts}
        for place, clip in enumerate(self.order.epoch(epoch)):
            found[self.buckets[clip]].append((place, clip))
        return found

    def _plan(self, epoch: int) -> list[tuple[Hashable, int]]:
        """The batches of an epoch: bucket, and number among the bucket's batches."""
        due: list[tuple[int, Hashable, int]] = []
        for bucket, clips in self._streams(epoch).items():
            size, count = self.sizes[bucket], len(clips)
            for number in range(epoch * count // size, (epoch + 1) * count // size):
                due.append((clips[(number + 1) * size - 1 - epoch * count][0], bucket, number))
        return [(bucket, number) for _, bucket, number in sorted(due, key=lambda each: each[0])]


def sizes(tokens: Mapping[K, int], budget: int) -> dict[K, int]:
    """Clips a batch of each bucket, as many as `budget` tokens hold, and at least one; `tokens` are those of a clip."""
    return {bucket: max(1, budget // count) for bucket, count in tokens.items()}
