"""The unit of work and of commit: a group of source files, and the folder with what became of them.

`work/00012/` holds `frames.u8` and `audio.i16` (the clips that passed, of any size and length, end to end), their
latents, and `outcomes.json`, which says how large each clip is. A worker writes into a scratch folder of its run; the
folder gets its name when the shard is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avctl.compute.memory import keep_freed_memory
from avctl.curate.prepare import Candidate, Outcome, Source, prepare
from avctl.curate.shots import load
from avctl.curate.worker import Fault, limited_files
from avctl.files import sync
from avctl.job import InputError
from avctl.media.engines.pyav import PyAV
from avctl.schema import Clip, Preprocess

SHARD_BYTES = 16 * 2**20  # of source files: a film is a shard of its own, a hundred short clips are work for thirty
FRAMES, AUDIO, OUTCOMES, MADE_OF = "frames.u8", "audio.i16", "outcomes.json", "made_of.sha256"
LATENTS = {"video_latents": "video.npy", "audio_latents": "audio.npy"}  # an array a clip, one behind the other


@dataclass(frozen=True)
class Shard(Sequence[Source]):
    """Source files that are prepared and committed together."""

    number: int
    sources: tuple[Source, ...]
    attempt: int = 0  # raised when its worker is lost with its machine, and may still be writing somewhere

    @property
    def name(self) -> str:
        return f"{self.number:05d}"

    @property
    def draft(self) -> str:
        """Its folder below the scratch folder: every attempt has one of its own."""
        return f"{self.name}.{self.attempt}"

    @property
    def made_of(self) -> str:
        """Hash of its files and of what decodes them: a committed shard with another one is of no use."""
        return hashlib.sha256(" ".join([PyAV.version, *(source.sha256 for source in self)]).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, item):  # pyright: ignore[reportIncompatibleMethodOverride]  # both forms, as of a tuple
        return self.sources[item]


@dataclass(frozen=True)
class Finished:
    """A source that was worked through. Its clips lie in the files of a shard, from number `first` on; without a shard,
    in an earlier data set."""

    source: Source
    outcome: Outcome
    shard: Shard | None = None
    first: int = 0


def read_ledger(crawl: Path) -> list[tuple[Source, int]]:
    """Every file of a crawl artifact and its size in bytes, ordered by content hash."""
    return [
        (Source(sha256, crawl / path, url or path, caption, split, truth), size or 0)
        for sha256, path, size, url, caption, split, truth in _query(
            crawl, "SELECT sha256, path, bytes, url, caption, split, truth FROM files ORDER BY sha256"
        )
    ]


def read_losses(crawl: Path) -> list[tuple[str, str]]:
    """(reason, URL) of everything that a crawl found and has no file of its own: dead letters and duplicates."""
    dead = _query(crawl, "SELECT reason, url FROM dead ORDER BY reason, url")
    return dead + _query(crawl, "SELECT 'same bytes as another', url FROM duplicates ORDER BY url")


def _query(crawl: Path, query: str) -> list[tuple]:
    ledger = crawl / "ledger.sqlite"
    if not ledger.is_file():
        raise InputError(f"`{ledger}` is missing: this is no crawl artifact", hint="run `avctl crawl` again")
    with closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        return database.execute(query).fetchall()


def group(sources: Sequence[tuple[Source, int]], most: int) -> list[Shard]:
    """Neighbours together, at most `most` files and about `SHARD_BYTES` a shard."""
    shards: list[Shard] = []
    open_shard: list[Source] = []
    size = 0
    for source, length in sources:
        if open_shard and (len(open_shard) == most or size + length > SHARD_BYTES):
            shards.append(Shard(len(shards), tuple(open_shard)))
            open_shard, size = [], 0
        open_shard.append(source)
        size += length
    if open_shard:
        shards.append(Shard(len(shards), tuple(open_shard)))
    return shards


@dataclass(frozen=True)
class PrepareShard:
    """The work of a worker: clips to files below `scratch`, outcomes back to the parent."""

    scratch: Path
    preprocess: Preprocess
    clip: Clip

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a worker, which has yet to limit its memory: libraries and weights do not count."""
        self.__dict__.update(state)
        keep_freed_memory()
        load(self.preprocess.shots)

    def __call__(self, shard: Shard, done: list[Outcome | Fault]) -> Generator[Outcome, None, None]:
        """Go on behind `done`. What a lost worker wrote after its last outcome is cut off."""
        cv2.setNumThreads(1)
        folder = self.scratch / shard.draft
        folder.mkdir(parents=True, exist_ok=True)
        cuts = cut_clips(outcome for outcome in done if isinstance(outcome, Outcome))
        frames_bytes = sum(prod(_frames_shape(clip)) for clip in cuts)
        audio_bytes = sum(2 * prod(_audio_shape(clip, self.clip)) for clip in cuts)
        with _append(folder / FRAMES, frames_bytes) as frames, _append(folder / AUDIO, audio_bytes) as audio:
            for source in shard[len(done) :]:
                with limited_files(frames.tell() + self.preprocess.item_output_mb * 2**20):
                    outcome, cuts = prepare(source, self.preprocess, self.clip)
                    for cut in cuts:
                        _write(frames, cut.frames)
                        _write(audio, cut.audio)
                yield outcome


class WorkFolder:
    """`work/` of the stage: committed shards, and the scratch folder of this run."""

    def __init__(self, folder: Path, clip: Clip):
        self.folder, self.clip = folder, clip
        folder.mkdir(exist_ok=True)
        for left in folder.glob("run-*"):  # of a run that was killed; its workers may live for one more item
            shutil.rmtree(left)
        self.scratch = folder / f"run-{uuid.uuid4().hex}"
        self.scratch.mkdir()

    def is_committed(self, shard: Shard) -> bool:
        mark = self.folder / shard.name / MADE_OF
        return mark.is_file() and mark.read_text() == shard.made_of

    def commit(self, shard: Shard, results: Sequence[Outcome | Fault]) -> None:
        """Make a finished shard of the scratch folder permanent, whole or not at all, in the place of one that is of no
        use."""
        folder = self.scratch / shard.draft
        rows = [asdict(result if isinstance(result, Outcome) else _faulty(result)) for result in results]
        (folder / OUTCOMES).write_text(json.dumps(rows))
        (folder / MADE_OF).write_text(shard.made_of)
        for file in folder.iterdir():
            sync(file)
        self.withdraw(shard)
        os.replace(folder, self.folder / shard.name)

    def write_latents(self, shard: Shard, latents: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Put the latents of video and audio of each clip of a shard beside it, before it is committed."""
        for file, clips in zip(LATENTS.values(), zip(*latents, strict=True) if latents else ((), ()), strict=True):
            with (self.scratch / shard.draft / file).open("wb") as stream:
                for clip in clips:
                    np.save(stream, clip)

    def withdraw(self, shard: Shard) -> None:
        """Undo a commit, if there was one: the shard will be worked through again."""
        with suppress(FileNotFoundError):
            os.replace(self.folder / shard.name, self.scratch / f"{shard.name}.withdrawn-{uuid.uuid4().hex}")

    def outcomes(self, shard: Shard) -> list[Outcome]:
        return [Outcome.of(row) for row in json.loads((self.folder / shard.name / OUTCOMES).read_text())]

    def frames(self, shard: Shard, cuts: Sequence[Candidate], scratch: bool = False) -> list[np.ndarray]:
        """Frames (T, H, W, 3) uint8 of each clip of a shard, mapped from disk."""
        return self._read(shard, FRAMES, np.uint8, [_frames_shape(clip) for clip in cuts], scratch)

    def audio(self, shard: Shard, cuts: Sequence[Candidate], scratch: bool = False) -> list[np.ndarray]:
        """Samples (samples, channels) int16 of each clip of a shard, mapped from disk; none where it has no sound."""
        return self._read(shard, AUDIO, np.int16, [_audio_shape(clip, self.clip) for clip in cuts], scratch)

    def latents(self, shard: Shard, count: int) -> dict[str, list[np.ndarray]]:
        """Latents (F, C, ...) of each of the `count` clips of a committed shard, by kind."""
        found = {}
        for kind, file in LATENTS.items():
            with (self.folder / shard.name / file).open("rb") as stream:
                found[kind] = [np.load(stream) for _ in range(count)]
        return found

    def _read(
        self, shard: Shard, file: str, dtype: type, shapes: Sequence[tuple[int, ...]], scratch: bool = False
    ) -> list[np.ndarray]:
        """The clips of one file of a shard, which have these shapes; committed, or still in scratch."""
        path = (self.scratch / shard.draft if scratch else self.folder / shard.name) / file
        if not shapes:
            return []
        ends = np.cumsum([prod(shape) for shape in shapes])
        values = np.memmap(path, dtype, "r", shape=(int(ends[-1]),)) if ends[-1] else np.empty(0, dtype)
        pieces = np.split(values, ends[:-1])
        return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def of_shards(shards: Sequence[Shard], workspace: WorkFolder) -> Iterator[Finished]:
    """Every source of committed shards, in order."""
    for shard in shards:
        first = 0
        for source, outcome in zip(shard, workspace.outcomes(shard), strict=True):
            yield Finished(source, outcome, shard, first)
            first += outcome.num_cut


def cut_clips(outcomes: Iterable[Outcome]) -> list[Candidate]:
    """The clips whose frames and samples a shard holds, in their order."""
    return [clip for outcome in outcomes for clip in outcome.clips if clip.clip_id is not None]


def _frames_shape(clip: Candidate) -> tuple[int, ...]:
    assert clip.frames is not None and clip.size is not None
    return (clip.frames, *clip.size, 3)


def _audio_shape(clip: Candidate, recipe: Clip) -> tuple[int, ...]:
    assert clip.samples is not None
    return (clip.samples, recipe.channels)


def _append(path: Path, length: int) -> FileIO:
    """The file cut to `length` bytes and open for more, unbuffered: what is written survives the worker."""
    path.touch()
    os.truncate(path, length)
    return FileIO(path, "a")


def _write(file: FileIO, values: np.ndarray) -> None:
    """All of it: one call writes only what there is space for, what the limit of files allows, or 2 GB."""
    rest = values.data.cast("B") if values.size else b""
    while rest:
        rest = rest[file.write(rest) :]


def _faulty(fault: Fault) -> Outcome:
    return Outcome(reason=fault.reason, detail=fault.detail)
