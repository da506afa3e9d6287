"""The table and the picture say what the rows say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from click.testing import CliRunner

from benches.report import markdown, report

COMMON: dict[str, Any] = {
    "time": 2, "device": "H200", "processor": "p", "cores": 8, "commit": "0123456789abcdef", "dtype": "bfloat16",
    "driver": "580", "packages": {"torch": "2.11.0"}, "failure": None, "command": "python -m benches kernels",
}  # fmt: skip


def timed(provider: str, name: str, median: float, to_best_peer: float | None = None) -> dict[str, Any]:
    return COMMON | {
        "bench": "norm_modulate", "what": f"{name}, 32768 x 2048: {provider}", "pass": name, "provider": provider,
        "rows": 32_768, "width": 2_048, "median": median, "quarter": median - 1, "three_quarters": median + 2,
        "floor_us": 62.4, "floor_bytes": 268_435_456, "of_ceiling": 62.4 / median, "to_best_peer": to_best_peer,
    }  # fmt: skip


ROWS = [
    COMMON | {"bench": "ceilings", "what": "copy", "median": 4_300.0},
    COMMON | {"bench": "ceilings", "what": "matmul", "median": 790.0},
    timed("avctl", "forward", 65.0, 1.2),
    timed("eager", "forward", 1_878.4),
    timed("compile", "forward", 78.0),
    timed("eager", "backward", 312.0),
    COMMON | {"bench": "norm_modulate", "what": "32768 x 2048: liger", "provider": "liger", "failure": "is not exact"},
]


def test_the_table_has_a_line_for_every_pass_and_names_who_was_not_timed() -> None:
    assert markdown(ROWS).splitlines() == [
        "H200 (p, 8 cores), commit 0123456789, driver 580, torch 2.11.0. "
        "In bfloat16: copy 4300 GB/s, matmul 790 TFLOP/s.",
        "",
        "| operation | rows x width | pass | floor us | avctl us | of ceiling | eager | compile | liger "
        "| best peer / avctl |",
        "|---|---|---|---|---|---|---|---|---|---|",
        "| norm_modulate | 32,768 x 2,048 | forward | 62.4 | **65** (64 to 67) | 0.96 | 1,878 | 78 | - | 1.20 |",
        "| norm_modulate | 32,768 x 2,048 | backward | 62.4 | - | - | 312 | - | - | - |",
        "",
        "- not timed: norm_modulate, 32768 x 2048: liger: is not exact",
    ]


def test_the_newest_run_of_a_file_is_told_and_drawn(tmp_path: Path) -> None:
    file, svg = tmp_path / "rows.jsonl", tmp_path / "a.svg"
    older = [row | {"time": 1, "median": 999.0} for row in ROWS[:4]]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, *older]))
    done = CliRunner().invoke(report, [str(file), "--svg", str(svg)])
    assert done.exit_code == 0 and done.output == markdown(ROWS) + "\n"
    root = ElementTree.fromstring(svg.read_text())
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    points = {str(each.text): circle for circle in root.iter("{http://www.w3.org/2000/svg}circle") for each in circle}
    assert "copy, 4300 GB/s" in texts and len(points) == 4
    heights = {text.split(": ")[1]: float(point.get("cy", 0)) for text, point in points.items() if "forward" in text}
    assert heights["avctl"] < heights["compile"] < heights["eager"]  # the faster, the higher
    assert "norm_modulate, forward, 32768 x 2048: avctl: 65 us, 0.96 of the ceiling" in points


def test_what_other_benches_measured_in_the_same_run_is_left_out(tmp_path: Path) -> None:
    file, svg = tmp_path / "rows.jsonl", tmp_path / "a.svg"
    others = [row | {"command": "python -m benches attention", "median": 1.0} for row in ROWS[:2]]
    others.append(COMMON | {"bench": "stack", "what": "a", "provider": "references", "failure": "does not run"})
    file.write_text("".join(json.dumps(row) + "\n" for row in [*others, *ROWS]))
    done = CliRunner().invoke(report, [str(file), "--svg", str(svg)])
    assert done.exit_code == 0 and done.output == markdown(ROWS) + "\n"
    assert "copy, 4300 GB/s" in svg.read_text()


def test_a_file_without_a_run_of_kernels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS[2]) + "\n")
    done = CliRunner().invoke(report, [str(tmp_path / "rows.jsonl")])
    assert done.exit_code == 1 and "has no run of kernels" in done.output
