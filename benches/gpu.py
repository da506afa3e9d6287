"""`python -m benches gpu FOLDER`: all that needs a GPU, in one call that ends in time and asks no network.

The tests of kernels and benches that are marked `gpu`, then all operations against their peers, the size of the design
first, then windows, dense attention and whole stacks of blocks. The folder has the output of the tests, the rows of
each bench as they are made, and the table and the picture of operations; the table is printed last.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import click

from benches import attention, kernels, stack, windows
from benches.device import Device, device
from benches.frame import Row, record
from benches.report import markdown, newest_run
from benches.roofline import roofline

ROOT = Path(__file__).parents[1]
TESTS = ("-m", "pytest", "-m", "gpu", "-q", "tests/kernels", "tests/benches")
TESTS_SHARE = 0.3  # of the time, at most
LAST_S = 45.0  # left for what has begun


class Bench(Protocol):
    def __call__(self, on: Device | None = None, until: float = ...) -> Iterator[Row]: ...


BENCHES: dict[str, Bench] = {
    "kernels": kernels.rows,
    "windows": windows.rows,
    "attention": attention.rows,
    "stack": stack.rows,
}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--minutes", type=float, default=8.0, show_default=True, help="All of it ends by then.")
@click.option("--only", multiple=True, type=click.Choice([*BENCHES]), help="These benches, and no tests.")
def gpu(folder: Path, minutes: float, only: Sequence[str]) -> None:
    """Test and time all kernels on a GPU; leave with 1 where a test fails or an operation is not exact."""
    until = time.monotonic() + 60 * minutes
    on = device()
    if not on.is_gpu:
        raise click.ClickException("no NVIDIA GPU answers; `python -m benches kernels` runs on a processor")
    folder.mkdir(parents=True, exist_ok=True)
    tested = "no tests were run" if only else _test(folder, TESTS_SHARE * 60 * minutes)
    timed = measure(folder, on, until - LAST_S, only or [*BENCHES])
    print(tested)
    sys.exit(not (timed and tested in ("tests passed", "no tests were run")))


def measure(folder: Path, on: Device, until: float, names: Sequence[str], **options: Any) -> bool:
    """Rows of benches, which share the time that is left; table and picture of operations. Whether avctl was timed in
    every race that was run."""
    where, is_whole = record(), True
    for number, name in enumerate(names):
        now = time.monotonic()
        share = now + (until - now) / (len(names) - number)
        for row in BENCHES[name](on=on, until=share, **options):
            with (folder / f"{name}.jsonl").open("a") as stream:
                print(row.to_json(where), file=stream)
            is_whole &= not (row.failure and row.details.get("provider") == "avctl")
    if "kernels" in names:
        _picture(folder, folder / "kernels.jsonl")
    return is_whole


def _picture(folder: Path, file: Path) -> None:
    rows = newest_run(file)
    table = markdown(rows)
    (folder / "table.md").write_text(table + "\n")
    (folder / "roofline.svg").write_text(roofline(rows))
    print(table)


def _test(folder: Path, seconds: float) -> str:
    """What became of the tests."""
    with (folder / "tests.txt").open("w") as stream:
        try:
            code = subprocess.run(
                [sys.executable, *TESTS], cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT, timeout=seconds
            ).returncode
        except subprocess.TimeoutExpired:
            return f"tests took more than {seconds:.0f} s: see {folder / 'tests.txt'}"
    return "tests passed" if code == 0 else f"tests failed with {code}: see {folder / 'tests.txt'}"
