"""Finished shards get their latents, in whichever process, with the same bytes."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from avctl.cluster.encoding import EncodeShard, EncodingPool, Prepared
from avctl.curate.pool import LocalPool
from avctl.curate.prepare import Candidate, Outcome, Source
from avctl.curate.shards import AUDIO, FRAMES, LATENTS, Shard, WorkFolder
from avctl.curate.worker import Budget, Fault
from avctl.job import MachineError
from avctl.schema import MDCT, Clip, Haar, Preprocess, Runtime

CLIP = Clip(seconds=0.5, size=(16, 16), fps=16, sample_rate=8_000)
SHARDS = [Shard(number, (Source(str(number), Path(), "x", None, None, None),)) for number in range(4)]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spawned workers find this module by its name, however pytest was started."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2])


@dataclass(frozen=True)
class Write:
    """Writes one clip of noise a shard, another for every number."""

    scratch: Path

    def __call__(self, shard: Shard, done: list[Outcome | Fault]) -> Generator[Outcome, None, None]:
        noise = np.random.default_rng(shard.number)
        folder = self.scratch / shard.draft
        folder.mkdir()
        noise.integers(0, 256, (CLIP.frames, *CLIP.size, 3), np.uint8).tofile(folder / FRAMES)
        noise.integers(-999, 999, (CLIP.samples, CLIP.channels), np.int16).tofile(folder / AUDIO)
        made = Candidate(0.0, {}, clip_id=shard.name, frames=CLIP.frames, samples=CLIP.samples, size=CLIP.size)
        yield Outcome(clips=[made])


def latents(folder: Path, num_gpus: int) -> list[bytes]:
    """Those of all shards, in their order."""
    workspace = WorkFolder(folder, CLIP)
    preprocess = Preprocess(video_codec=Haar(down=4), audio_codec=MDCT())
    encode = EncodeShard(workspace, preprocess, CLIP, None, Runtime(device="cpu"))
    pool = EncodingPool(LocalPool(Write(workspace.scratch), 1, Budget(60.0, 500, 10)), encode, lambda: num_gpus)
    with pool.run(SHARDS) as steps:
        done = [step.shard for step in steps if step and step.is_finished]
    assert sorted(shard.number for shard in done) == [0, 1, 2, 3]
    assert ("encoder" in vars(encode)) is (num_gpus < 2)
    return [(workspace.scratch / shard.draft / file).read_bytes() for shard in SHARDS for file in LATENTS.values()]


def test_latents_made_in_several_processes_are_those_made_in_one(tmp_path: Path) -> None:
    one = latents(tmp_path / "one", num_gpus=1)
    assert all(one) and one == latents(tmp_path / "two", num_gpus=2)


@pytest.mark.slow
def test_what_goes_wrong_in_a_process_of_a_gpu_is_raised_here(tmp_path: Path) -> None:
    workspace = WorkFolder(tmp_path / "work", CLIP)
    pool = EncodingPool(LocalPool(Write(workspace.scratch), 1, Budget(60.0, 500, 10)), fail, lambda: 2)
    with pool.run(SHARDS) as steps, pytest.raises(ArithmeticError, match="0000"):
        list(steps)


def fail(prepared: Prepared) -> None:
    raise ArithmeticError(f"{prepared.shard.name} in {os.getpid()}")


def test_an_encoder_that_is_killed_is_said(tmp_path: Path) -> None:
    workspace = WorkFolder(tmp_path / "work", CLIP)
    pool = EncodingPool(LocalPool(Write(workspace.scratch), 1, Budget(60.0, 500, 10)), die, lambda: 2)
    with pool.run(SHARDS) as steps, pytest.raises(MachineError, match="makes latents was killed") as caught:
        list(steps)
    assert "memory" in (caught.value.hint or "")


def die(prepared: Prepared) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_encoder_travels_without_its_codecs(tmp_path: Path) -> None:
    preprocess = Preprocess(video_codec=Haar(down=4), audio_codec=MDCT())
    encode = EncodeShard(WorkFolder(tmp_path, CLIP), preprocess, CLIP, None, Runtime(device="cpu"))
    encode.load()
    copy = pickle.loads(pickle.dumps(encode))
    assert "encoder" not in vars(copy)
    assert copy.encoder.fingerprint == encode.encoder.fingerprint
