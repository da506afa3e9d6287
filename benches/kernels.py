"""Operations of `kernels/` against their peers: all cases, at the sizes of the device that is there."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence

from avctl.kernels.cases import CASES, ROWS, WIDTH
from benches import ceilings
from benches.device import Device, device, identity, state
from benches.frame import Row
from benches.race import Ceilings, command, race

Size = tuple[int, int]  # rows, width
GPU_SIZES: Sequence[Size] = (
    (ROWS, WIDTH), (256, WIDTH), (1_024, WIDTH), (4_096, WIDTH), (ROWS, 1_024), (ROWS, 3_072), (ROWS, 6_144),
)  # fmt: skip
CPU_SIZES: Sequence[Size] = ((624, 160), (4_096, 384))  # a batch of recipes/tiny.py, and a small model


def rows(
    on: Device | None = None,
    until: float = float("inf"),
    names: Sequence[str] = tuple(CASES),
    sizes: Sequence[Size] | None = None,
) -> Iterator[Row]:
    """Ceilings, then all cases at one size after the other. A race that would begin after `until`, a time of
    `time.monotonic`, is not run, and says so."""
    on = on or device()
    with on.stream():
        found: dict[str, float] = {}
        for row in ceilings.rows(on):
            found[row.what] = statistics.median(row.values)
            yield row
        most = Ceilings(1e9 * found["copy"], 1e12 * found["matmul"])
        for size in sizes or (GPU_SIZES if on.is_gpu else CPU_SIZES):
            for name in names:
                if time.monotonic() > until:
                    yield Row.too_late(name, f"{size[0]} x {size[1]}: everybody", "us", command(CASES[name]))
                else:
                    yield from race(CASES[name], *size, on, most, identity(on) | state(on))
