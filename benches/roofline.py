"""The bytes that had to move, a second, under the ceiling that a copy reached in the same run: SVG made of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, TOP, BOTTOM, LEFT, GAP = 1_040, 400, 60, 60, 70, 70  # pixels
COLOURS = {
    "avctl": "#c0392b", "eager": "#7f8c8d", "compile": "#2471a3", "liger": "#b9770e", "quack": "#1e8449",
    "fused": "#8e44ad", "foreach": "#16a085",
}  # fmt: skip
PASSES = ("forward", "backward")
PLOT = (WIDTH - LEFT - 2 * GAP) / len(PASSES)

Figure = Mapping[str, Any]


def roofline(rows: Sequence[Figure]) -> str:
    """A panel for each pass: GB/s of the floor's bytes against the floor's megabytes, both on logarithmic axes."""
    (ceiling,) = (row["median"] for row in rows if row["bench"] == "ceilings" and row["what"] == "copy")
    points = [row for row in rows if row.get("pass") in PASSES and row["floor_bytes"]]
    megabytes = [row["floor_bytes"] / 1e6 for row in points]
    speeds = [_speed(row) for row in points]
    across = _decades(megabytes)
    up = _decades([*speeds, ceiling])
    body = [line for number, name in enumerate(PASSES) for line in _panel(number, name, points, across, up, ceiling)]
    seen = {name: colour for name, colour in COLOURS.items() if any(row["provider"] == name for row in points)}
    legend = [
        f'<circle cx="{LEFT + 110 * place + 6}" cy="{HEIGHT - 12}" r="5" fill="{colour}"/>'
        f'<text x="{LEFT + 110 * place + 16}" y="{HEIGHT - 8}">{name}</text>'
        for place, (name, colour) in enumerate(seen.items())
    ]
    device = escape(str(next((row["device"] for row in rows if "device" in row), "")))
    title = f'<text x="{LEFT}" y="22" font-size="15">GB/s of the bytes that have to move, on {device}</text>'
    style = '<style>text{font:12px sans-serif;fill:#222}</style><rect width="100%" height="100%" fill="white"/>'
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', style, title, *body, *legend, "</svg>\n"])


def _panel(
    number: int, name: str, points: Sequence[Figure], across: tuple[int, int], up: tuple[int, int], ceiling: float
) -> Iterator[str]:
    left = LEFT + number * (PLOT + GAP)

    def x(megabytes: float) -> float:
        return left + PLOT * (math.log10(megabytes) - across[0]) / (across[1] - across[0])

    def y(speed: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(speed) - up[0]) / (up[1] - up[0])

    yield f'<text x="{left}" y="{TOP - 12}">{name}</text>'
    for power in range(across[0], across[1] + 1):
        yield _line(x(10**power), y(10 ** up[0]), x(10**power), y(10 ** up[1]))
        yield f'<text x="{x(10**power):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{10.0**power:g} MB</text>'
    for power in range(up[0], up[1] + 1):
        yield _line(left, y(10**power), left + PLOT, y(10**power))
        if number == 0:
            yield f'<text x="{left - 6}" y="{y(10**power) + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
    yield _line(left, y(ceiling), left + PLOT, y(ceiling), "#222")
    yield f'<text x="{left + 6}" y="{y(ceiling) - 5:.1f}">copy, {ceiling:.4g} GB/s</text>'
    for row in points:
        if row["pass"] == name:
            told = f"{row['bench']}, {row['what']}: {row['median']:.4g} us, {row['of_ceiling']:.2f} of the ceiling"
            place = f'cx="{x(row["floor_bytes"] / 1e6):.1f}" cy="{y(_speed(row)):.1f}"'
            colour = COLOURS.get(row["provider"], "#222")
            yield f'<circle {place} r="5" fill="{colour}" fill-opacity="0.75"><title>{escape(told)}</title></circle>'


def _speed(row: Figure) -> float:
    """GB/s."""
    return row["floor_bytes"] / row["median"] / 1e3


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around positive values."""
    low, high = math.floor(math.log10(min(values, default=1))), math.ceil(math.log10(max(values, default=10)))
    return low, max(high, low + 1)


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = "#ddd") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
