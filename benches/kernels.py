"""Operations of `kernels/` against their peers: all cases, at the sizes of the device that is there.

Those that the goals name come first: all cases at the size of the design, `norm_modulate` at all others. Attention in
windows has a bench of its own, `windows`, with fair peers: its reference goes through clips and heads in pieces to fit
in memory, which says nothing of eager or compiled PyTorch. It is raced here only if it is named.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence

from avctl.kernels.cases import CASES, ROWS, WIDTH
from benches import ceilings
from benches.device import Device, device, identity, state
from benches.frame import Row
from benches.race import Ceilings, command, race

COMMAND = "python -m benches kernels"
NAMES = tuple(name for name in CASES if name != "av_window_attention")
FIRST = "norm_modulate"  # at the sizes after the first
Size = tuple[int, int]  # rows, width
GPU_SIZES: Sequence[Size] = (
    (ROWS, WIDTH), (256, WIDTH), (1_024, WIDTH), (4_096, WIDTH), (ROWS, 1_024), (ROWS, 3_072), (ROWS, 6_144),
)  # fmt: skip
CPU_SIZES: Sequence[Size] = ((624, 160), (4_096, 384))  # a batch of recipes/tiny.py, and a small model


def rows(
    on: Device | None = None,
    until: float = float("inf"),
    names: Sequence[str] = NAMES,
    sizes: Sequence[Size] | None = None,
) -> Iterator[Row]:
    """Ceilings, then all races in the order of the goals. One that would begin after `until`, a time of
    `time.monotonic`, is not run, and says so."""
    on = on or device()
    with on.stream():
        found: dict[str, float] = {}
        for row in ceilings.rows(on, COMMAND):
            found[row.what] = statistics.median(row.values)
            yield row
        most = Ceilings(1e9 * found["copy"], 1e12 * found["matmul"])
        for name, size in in_order(names, sizes or (GPU_SIZES if on.is_gpu else CPU_SIZES)):
            if time.monotonic() > until:
                yield Row.too_late(name, f"{size[0]} x {size[1]}: everybody", "us", command(CASES[name]))
            else:
                yield from race(CASES[name], *size, on, most, identity(on) | state(on))


def in_order(names: Sequence[str], sizes: Sequence[Size]) -> list[tuple[str, Size]]:
    """Everybody at the first size, then one at all sizes, then the others."""
    pairs = [(name, size) for size in sizes for name in names]
    return sorted(pairs, key=lambda pair: (pair[1] != sizes[0], pair[0] != FIRST))
