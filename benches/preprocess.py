"""What preprocess takes of real 720p, part by part and as a whole: hours of video in an hour of one core.

A part is timed by what is added when it is done as well: reading the times, decoding, looking for shots, cutting. The
whole is the command itself, with starting Python, the store and the index. Processor time, of one worker.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2

from avctl.curate.prepare import Source, prepare
from avctl.curate.proposals import glance
from avctl.curate.shots import watch
from avctl.media.decode import Media
from avctl.media.survey import survey
from avctl.recipe.content import sha256
from avctl.schema import Clip, Preprocess, Shots
from benches.film import SECONDS, clips, film
from benches.frame import Row, children_s

REPEATS = 3
CLIP = Clip(seconds=2.0, size=(256, 448), fps=24, sample_rate=48_000)
FILM_S = 596.5
EVERY = Preprocess(shots=Shots(max_clips=300))  # all that fit
BLIND = Preprocess(shots=Shots(detector=None, sharpest_within_s=0.0, max_clips=1))
SMALL = Clip(seconds=10.0, size=(160, 256), fps=2, sample_rate=16_000, channels=1)  # 20 frames over ten seconds
FEW = Preprocess(shots=Shots(max_clips=8))
RECIPE = """
from avctl.schema import Clip, Crawl, Directory, Filters, Preprocess, Recipe, Runtime, Shots

recipe = Recipe(
    name="bench",
    clip=Clip(seconds=2.0, size=(256, 448), fps=24, sample_rate=48_000),
    crawl=Crawl(sources=(Directory(path="videos"),)),
    preprocess=Preprocess(shots=Shots(max_clips={most}), filters=Filters(max_silence=None, max_clipping=None)),
    runtime=Runtime(device="cpu", workers=1),
)
"""

Part = tuple[str, Callable[[Path], object]]
PARTS: tuple[Part, ...] = (
    ("survey: keyframes, sound, times of all frames", lambda path: glance(survey(Media(path)))),
    ("scan: every frame and the sound decoded", lambda path: sum(1 for _ in Media(path).scan())),
    ("scan, shots and sharpness", lambda path: watch(Media(path).scan(), Shots())),
    ("all of it: every clip scored and cut to 256x448", lambda path: prepare(_source(path), EVERY, CLIP)),
    ("one shot: 20 frames of 160x256 and their sound", lambda path: prepare(_source(path), BLIND, SMALL)),
)


def rows() -> Iterator[Row]:
    cv2.setNumThreads(1)
    files = clips(250)
    yield from _parts("ten-second files", files, SECONDS * len(files), PARTS)
    few: Part = ("at most 8 clips scored and cut", lambda path: prepare(_source(path), FEW, CLIP))
    yield from _parts("a film", [film()], FILM_S, (PARTS[0], few))
    yield from _stage("ten-second files", files, SECONDS * len(files), 300)
    yield from _stage("a film, at most 8 clips", [film()], FILM_S, 8)


def _parts(name: str, files: Sequence[Path], seconds: float, parts: Sequence[Part]) -> Iterator[Row]:
    """Rounds of all parts, so that a slow minute of the machine is shared by them."""
    spent = [[_processor_of(work, files) for _, work in parts] for _ in range(REPEATS)]
    for (what, _), measured in zip(parts, zip(*spent, strict=True), strict=True):
        yield _rate(f"{name}: {what}", seconds, measured)


def _processor_of(work: Callable[[Path], object], files: Sequence[Path]) -> float:
    start = time.process_time()
    results = [work(file) for file in files]
    seconds = time.process_time() - start
    if any(isinstance(result, tuple) and result[0].reason for result in results):
        raise RuntimeError("a file was refused, which takes no time")
    return seconds


def _stage(name: str, files: Sequence[Path], seconds: float, most: int) -> Iterator[Row]:
    """The whole command on a crawl that is done."""
    spent = []
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        (folder / "videos").mkdir()
        for file in files:
            (folder / "videos" / file.name).symlink_to(file)
        (folder / "bench.py").write_text(RECIPE.format(most=most))
        _run(folder, "crawl")
        for _ in range(REPEATS):
            before = children_s()
            _run(folder, "preprocess", "--force")
            spent.append(children_s() - before)
    yield _rate(f"{name}: avctl preprocess", seconds, spent)


def _run(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "avctl", words[0], "bench.py", "--store", "runs", *words[1:]]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)


def _rate(what: str, seconds: float, spent: Sequence[float]) -> Row:
    return Row(
        "preprocess",
        what,
        "h of video / h of a core",
        "python -m benches preprocess",
        tuple(seconds / s for s in spent),
    )


def _source(path: Path) -> Source:
    return Source(sha256(path), path, path.name, None, None, None)
