"""What one GPU decodes against all cores of the same machine: sixteen frames of 160x256 a clip, the same files.

DALI's frames are compared with PyAV's first: a bench of wrong frames measures nothing. Needs an NVIDIA GPU.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np

from avctl.media.decode import Media
from avctl.media.engines import EngineError
from avctl.media.engines.dali import Dali, has_gpu
from avctl.media.parity import compare
from avctl.media.probe import open_media, tracks
from avctl.media.sparse import stamps
from avctl.schema import Decode
from avctl.schema.runtime import cores
from benches.decode import COUNT, spread
from benches.film import SECONDS, clips
from benches.frame import Row

COMMAND = "python -m benches decode_gpu"
SIZE = (160, 256)
ROUNDS = 5
GROUP = 32  # clips that DALI is given at a time
REPEATS = 8  # times that the clips are read in a round


def rows() -> Iterator[Row]:
    """Clips a second and hours of video an hour of one GPU, and of the cores beside it; then how far they agree."""
    if not has_gpu():
        raise click.ClickException("decode_gpu does not run here: no NVIDIA GPU answers (libcuda.so.1, cuInit)")
    files = [*clips(250), *clips(50)]
    dali = Dali()
    for file in files:
        yield from parity(dali, file)
    yield from _rates("DALI, one GPU", "GPU", partial(read_all, dali), files)
    with multiprocessing.get_context("spawn").Pool(cores()) as pool:
        yield from _rates(f"PyAV, {cores()} cores", "machine", partial(pool.map, partial(spread, size=SIZE)), files)


def parity(dali: Dali, file: Path) -> Iterator[Row]:
    """How close the pixels are. ClickException where DALI refuses the file or gives other frames."""
    (row,) = compare(file, [dali])[1:]
    if row.refused or row.min_psnr_db is None or row.is_below(Decode().min_psnr_db):
        raise click.ClickException(f"DALI does not give PyAV's frames: {row}")
    yield Row("decode_gpu", f"DALI against PyAV, {file.name}, worst frame", "dB", COMMAND, (row.min_psnr_db,))


def read_all(dali: Dali, files: list[Path]) -> None:
    """Sixteen frames of every file, `GROUP` files at a time."""
    for first in range(0, len(files), GROUP):
        group = [_opened(file) for file in files[first : first + GROUP]]
        times = [np.array(media.scanned.times) for media in group]
        wanted = [each[np.linspace(0, len(each) - 1, COUNT).round().astype(int)] for each in times]
        for answer in dali.read_many([(media, each, SIZE) for media, each in zip(group, wanted, strict=True)]):
            if isinstance(answer, EngineError):
                raise answer
        for media in group:
            media.close()


def _opened(file: Path) -> Media:
    """A file whose packets say when its frames are shown: nothing is decoded."""
    media = Media(file)
    with open_media(file) as container:
        stream = tracks(container)[0]
        assert stream.time_base is not None
        media.scanned.times = [float(stamp * stream.time_base) for stamp in stamps(container, stream)]
    return media


def _rates(name: str, what: str, read: Callable[[list[Path]], object], files: list[Path]) -> Iterator[Row]:
    """The first round warms up."""
    seconds = []
    for _ in range(1 + ROUNDS):
        start = time.perf_counter()
        read(files * REPEATS)
        seconds.append(time.perf_counter() - start)
    num_clips, title = len(files) * REPEATS, f"{COUNT} of {SECONDS} s of 720p at {SIZE[0]}x{SIZE[1]}: {name}"
    rates = tuple(num_clips / spent for spent in seconds[1:])
    yield Row("decode_gpu", title, "clips/s", COMMAND, rates)
    yield Row("decode_gpu", title, f"h of video a {what}-hour", COMMAND, tuple(rate * SECONDS for rate in rates))
