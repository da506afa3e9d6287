"""What a whole run takes, stage by stage, in time, memory and disk: a miniature, or `recipes/tiny.py` itself."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benches.frame import Row

REPEATS = 3
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)  # kB, of the largest of its processes
"""
MINIATURE = (  # of every stage a little
    "crawl.sources.0.count=160",
    "preprocess.video_codec.recipe.crawl.sources.0.count=40",
    "preprocess.video_codec.recipe.train.steps=20",
    "preprocess.split.test=0.3",
    "train.steps=20",
    "sample.steps=4",
    *(f"sample.requests.{i}.count=6" for i in range(4)),
)


def rows() -> Iterator[Row]:
    """A miniature of `recipes/tiny.py`, made three times in fresh stores."""
    return _rows("pipeline", MINIATURE, REPEATS)


def tiny() -> Iterator[Row]:
    """The whole of `recipes/tiny.py`, once."""
    return _rows("tiny", (), 1)


def _rows(bench: str, overrides: tuple[str, ...], repeats: int) -> Iterator[Row]:
    words = ["run", "recipes/tiny.py", *(word for text in overrides for word in ("-o", text))]
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as store:
            for figure, value in _measure(words, Path(store)).items():
                values[figure].append(value)
    for (what, unit), measured in values.items():
        yield Row(bench, what, unit, shlex.join(["avctl", *words]), tuple(measured))


def _measure(words: list[str], store: Path) -> dict[tuple[str, str], float]:
    """Figures of one run in a fresh store, by name and unit."""
    found: dict[tuple[str, str], float] = {}
    command = [sys.executable, "-c", PEAK, sys.executable, "-m", "avctl", *words, "--store", store]
    for what in ("all stages", "all done before"):
        start = time.perf_counter()
        *made, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found[what, "s"] = time.perf_counter() - start
        found.setdefault(("largest process, memory", "GB"), int(peak) * 1024 / 1e9)
    for artifact in map(Path, made):
        manifest = json.loads((artifact / "manifest.json").read_text())
        found[f"{manifest['stage']} of {manifest['name']}", "s"] = manifest["seconds"]
    size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    return found | {("disk", "GB"): size / 1e9}
