"""`python -m benches gpu FOLDER`: all that needs a GPU, in one call that ends in time and asks no network.

The tests that are marked `gpu`, then all operations against their peers, those of the goals first, then windows, dense
attention and whole stacks of blocks. Each is a process of its own with a share of the time, and what it leaves goes to
the next; one that has not ended by then is killed, and its rows, which are written as they are made, are kept. The
folder has what each of them printed, their rows, and the picture and the table of operations, which is printed last.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import torch

from benches.report import markdown, newest_run
from benches.roofline import roofline

ROOT = Path(__file__).parents[1]
TESTS = (sys.executable, "-m", "pytest", "-m", "gpu", "-q", "tests/kernels", "tests/benches", "tests/training")
SHARES = {"tests": 0.25, "kernels": 0.30, "windows": 0.12, "attention": 0.13, "stack": 0.20}
BENCHES = tuple(name for name in SHARES if name != "tests")
LAST_S = 15.0  # left for killing the last, for table and picture
MARGIN_S = 25.0  # for starting a bench, and for the race that it is in when it may begin no other
DYING_S = 2.0  # for a process that was killed: who waits for a driver that hangs does not even do that


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--minutes", type=float, default=8.0, show_default=True, help="All of it ends by then.")
@click.option("--only", multiple=True, type=click.Choice(BENCHES), help="These benches, and no tests.")
def gpu(folder: Path, minutes: float, only: Sequence[str]) -> None:
    """Test and time all kernels on a GPU; leave with 1 where a test fails or an operation is not exact."""
    begin = time.monotonic()
    if not torch.cuda.is_available():
        raise click.ClickException("no NVIDIA GPU answers; `python -m benches kernels` runs on a processor")
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in SHARES if name in (only or SHARES)]
    told = {name: _run(folder.absolute(), name, until) for name, until in shared(names, begin, 60 * minutes).items()}
    if "kernels" in names:
        told["table"] = picture(folder)
    for name, fault in told.items():
        print(f"{name}: {fault or 'passed'}")
    sys.exit(any(told.values()))


def shared(names: Sequence[str], begin: float, seconds: float) -> Mapping[str, float]:
    """When each has to have ended: by its share, whenever those before it did."""
    whole, ends, end = sum(SHARES[name] for name in names), {}, begin
    for name in names:
        end += (seconds - LAST_S) * SHARES[name] / whole
        ends[name] = end
    return ends


def _run(folder: Path, name: str, until: float) -> str | None:
    if name == "tests":
        return run_until(TESTS, until, folder / "tests.txt")
    return measure(folder, name, until)


def measure(folder: Path, name: str, until: float) -> str | None:
    """Append the rows of a bench to those in the folder; what went wrong, with it or with an operation of ours."""
    file = folder / f"{name}.jsonl"
    before = len(file.read_text().splitlines()) if file.exists() else 0
    seconds = max(0.0, until - time.monotonic() - MARGIN_S)
    command = [sys.executable, "-m", "benches", name, "--json", str(file), "--seconds", f"{seconds:.0f}"]
    faults = [run_until(command, until, folder / f"{name}.txt")]
    rows = [json.loads(line) for line in file.read_text().splitlines()[before:]] if file.exists() else []
    faults += [f"{row['bench']}, {row['what']}: {row['failure']}" for row in rows if _is_ours(row) and row["failure"]]
    return "; ".join(filter(None, faults)) or None


def _is_ours(row: Mapping[str, object]) -> bool:
    return row.get("provider") == "avctl"


def run_until(command: Sequence[str], until: float, output: Path) -> str | None:
    """Run it from the root of the repository; why it did not pass. At that time it is killed, with its children."""
    with output.open("w") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return f"did not end in time, and was killed: see {output.name}"
        finally:
            _kill(process)
    return f"left with {code}: see {output.name}" if code else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With all that it started and left behind."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(DYING_S)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass


def picture(folder: Path) -> str | None:
    """Table and picture of the operations' rows, or why there are none."""
    try:
        rows = newest_run(folder / "kernels.jsonl")
    except (OSError, click.ClickException) as error:
        return f"there is none: {error}"
    table = markdown(rows)
    (folder / "table.md").write_text(table + "\n")
    (folder / "roofline.svg").write_text(roofline(rows))
    print(table)
    return None
