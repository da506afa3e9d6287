"""How soon an interrupted preprocess of ten thousand files is at work again: from the command to the next file.

The files are real and were crawled; what became of the finished ones is made up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np

from avctl.artifact import Workspace, manifest
from avctl.cli.options import Options
from avctl.cli.resolve import resolve
from avctl.curate.prepare import Outcome, prepare
from avctl.curate.shards import AUDIO, FRAMES, Shard, WorkFolder, group, read_ledger
from avctl.media.mux import write_mp4
from benches.frame import Row

FINISHED, LEFT = 10_240, 256  # files: forty shards, and one that is not finished
REPEATS, COMMAND = 5, "python -m benches restart"
RECIPE = """
from avctl.schema import Clip, Crawl, Directory, Preprocess, Recipe, Runtime

recipe = Recipe(
    name="restart",
    clip=Clip(seconds=0.5, size=(16, 16), fps=16, sample_rate=8_000, channels=1),
    crawl=Crawl(sources=(Directory(path="films"),)),
    preprocess=Preprocess(shard_files=256),
    runtime=Runtime(device="cpu", workers=2),
)
"""


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.py").write_text(RECIPE)
        _write_films(folder / "films")
        subprocess.run([*AVCTL, "crawl", "recipe.py", "-q", *STORE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with chdir(folder):
            _pretend()
        wall, processor = zip(*(_restart(folder) for _ in range(REPEATS + 1)), strict=True)
    what = f"to the first new file, {FINISHED} are finished"
    yield Row("restart", what, "s", COMMAND, wall[1:])
    yield Row("restart", what, "s of processor", COMMAND, processor[1:])


AVCTL, STORE = (sys.executable, "-m", "avctl"), ("--store", "runs")


def _write_films(folder: Path) -> None:
    """The same film in files of different bytes: each ends in a box of its own, which nobody reads."""
    folder.mkdir()
    film = folder / "0.mp4"
    frames = np.tile(np.arange(0, 256, 16, dtype=np.uint8)[:, None], (8, 16, 1, 3))
    tone = 0.3 * np.sin(np.arange(4_000) / 5, dtype=np.float32)[:, None]
    write_mp4(film, frames, tone, 16, 8_000)
    content = film.read_bytes()
    for number in range(1, FINISHED + LEFT):
        (folder / f"{number}.mp4").write_bytes(content + b"\0\0\0\x10free" + number.to_bytes(8))


def _pretend() -> None:
    """All shards but the last are committed, as if the command had been killed then."""
    resolved = resolve("recipe.py", Options(store=Path("runs")))
    step = resolved.own_step("preprocess")
    (crawl,) = resolved.inputs(step).values()
    row = {"stage": "crawl", "fingerprint": step.inputs["crawl"], "path": str(crawl)}
    workspace = Workspace(resolved.store, step, {"crawl": row | {"digest": manifest.read(crawl).digest or ""}})
    workspace.open()
    assert step.recipe.preprocess
    work = WorkFolder(workspace.path / "work", step.recipe.clip)
    shards = group(read_ledger(crawl), step.recipe.preprocess.shard_files)
    outcome, cuts = prepare(shards[0][0], step.recipe.preprocess, step.recipe.clip)
    assert outcome.num_cut == len(cuts) == 1
    for shard in shards[:-1]:
        _commit(work, shard, outcome, cuts[0].frames, cuts[0].audio)
    workspace.leave("interrupted")
    workspace.release()


def _commit(work: WorkFolder, shard: Shard, outcome: Outcome, frames: np.ndarray, audio: np.ndarray) -> None:
    draft = work.scratch / shard.draft
    draft.mkdir()
    (draft / FRAMES).write_bytes(frames.tobytes() * len(shard))
    (draft / AUDIO).write_bytes(audio.tobytes() * len(shard))
    work.commit(shard, [outcome] * len(shard))


def _restart(folder: Path) -> tuple[float, float]:
    """Wall and processor time from the command to the first file that it prepares; then it is killed."""
    start = time.perf_counter()
    command = [*AVCTL, "preprocess", "recipe.py", "--json", *STORE]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, process_group=0)
    assert process.stderr
    for line in process.stderr:
        if json.loads(line).get("done", 0) > FINISHED:
            break
    else:
        raise RuntimeError("the command ended before it had prepared a file")
    seconds, processor = time.perf_counter() - start, _processor_s(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return seconds, processor


def _processor_s(pid: int) -> float:
    """Seconds that a process computed, its running workers not included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
