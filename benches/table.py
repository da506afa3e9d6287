"""The table of README, made of the rows in `results/`: of every figure the newest.

pip install -e '.[dev,bench]'
python -m benches --json benches/results/cpu.jsonl && python -m benches --readme
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- python -m benches --readme: what follows is made by it -->\n", "<!-- end of the table -->\n"
Rows = Mapping[tuple[str, str, str], dict[str, Any]]  # by bench, what, unit


@dataclass(frozen=True)
class Line:
    """A figure of avctl, and those of others in the same run: names of rows, each behind `what`."""

    label: str
    bench: str
    unit: str
    what: str
    own: str = "avctl"
    others: Mapping[str, str] = field(default_factory=dict)  # how the table calls it, name of the row


def _named(*names: str) -> dict[str, str]:
    return {name: name for name in names}


READERS = _named("np.memmap", "zarrs", "tensorstore", "zarr") | {"MDS-like shard": "shard"}
DECODERS = {
    "decord": "decord",
    "PyAV": "PyAV, all the way through",
    "torchcodec": "torchcodec, approximate",
    "ffmpeg pipe": "ffmpeg pipe",
    "OpenCV": "OpenCV, all the way through",
    "OpenCV, a seek a frame": "OpenCV, a seek a frame",
}
LINES = (
    Line("16 frames of 10 s of 720p, resized", "decode", "s of processor a clip",
         "16 of 10 s of 720p, keyframes every 250: ", others=DECODERS),
    Line("the same, keyframes closer", "decode", "s of processor a clip",
         "16 of 10 s of 720p, keyframes every 50: ", others=DECODERS),
    Line("every frame of 720p, resized", "decode", "h of video a core-hour", "720p: ", "every frame, resized"),
    Line("keyframes of 720p", "decode", "h of video a core-hour", "720p: ", "keyframes, luma alone"),
    Line("preprocess, every clip of short files", "preprocess", "h of video / h of a core",
         "ten-second files: ", "avctl preprocess"),
    Line("preprocess, 8 clips of a film", "preprocess", "h of video / h of a core", "a film, at most 8 clips: ",
         "avctl preprocess"),
    Line("window of 16 frames, warm", "store", "ms of processor", "16-frame window, warm: ", others=READERS),
    Line("window of 16 frames, cold", "store", "ms of processor", "16-frame window, cold: ", others=READERS),
    Line("latents of a clip, 1.26 MB, warm", "store", "ms", "latents of a clip, 1.26 MB, warm: ", others=READERS),
    Line("such latents in a second", "store", "GB/s", "latents of a clip, 1.26 MB, warm: ", others=READERS),
    Line("files that two workers prepare, to one", "workers", "times", "", "files, two processes to one",
         {"a busy loop": "busy loops, two processes to one"}),
    Line("training attention, packed to padded, clips of 2.77 times the mean", "attention", "times",
         "256 clips of the mixture up to 256, forward and backward: ", "padded over packed"),
    Line("training attention in windows, a quarter of the pairs", "windows", "ms",
         "8,192 tokens, 26% of pairs, forward and backward: ", others=_named("mask", "dense")),
    Line("to the first new file, 10,240 are finished", "restart", "s", "to the first new file, ",
         "10240 are finished"),
)  # fmt: skip


def newest(folder: Path) -> Rows:
    """The newest row of every figure."""
    lines = (line for file in folder.glob("*.jsonl") for line in file.read_text().splitlines())
    rows = sorted(map(json.loads, lines), key=lambda row: row["time"])
    return {(row["bench"], row["what"], row["unit"]): row for row in rows}


def table(rows: Rows, lines: Sequence[Line] = LINES) -> str:
    """Markdown; what was not measured on the machine of most lines has a mark. KeyError for a figure without a row,
    ValueError where rows of one line are not of one run."""
    made = ["| | avctl | others, in the same run | unit |", "|---|---|---|---|"]
    figures = [rows[line.bench, line.what + line.own, line.unit] for line in lines]
    machines = [machine for machine, _ in Counter(map(_machine, figures)).most_common()]
    marks = {machine: "†" * i for i, machine in enumerate(machines)}
    for line, own in zip(lines, figures, strict=True):
        others = {name: rows[line.bench, line.what + row, line.unit] for name, row in line.others.items()}
        if any(row["time"] != own["time"] for row in others.values()):
            raise ValueError(f"`{line.label}`: figures of different runs")
        label = line.label + marks[_machine(own)]
        spread = f" ({own['low']:.3g} to {own['high']:.3g})" if own["runs"] > 1 else ""
        beside = ", ".join(f"{name} {row['median']:.3g}" for name, row in others.items())
        made.append(f"| {label} | **{own['median']:.3g}**{spread} | {beside} | {line.unit} |")
    return "\n".join([*made, "", f"Measured on: {'; '.join(marks[machine] + machine for machine in machines)}.", ""])


def _machine(row: Mapping[str, Any]) -> str:
    return f"{row['processor']}, {row['cores']} cores"


def write_readme() -> None:
    """Put the table in its place in README."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    README.write_text(f"{before}{BEGIN}{table(newest(RESULTS))}{END}{rest.partition(END)[2]}")
