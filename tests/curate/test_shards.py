"""Shards are the same on every machine, and a commit is whole or not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avctl.curate.pool import LocalPool
from avctl.curate.prepare import Candidate, Outcome, Source
from avctl.curate.shards import AUDIO, FRAMES, SHARD_BYTES, PrepareShard, Shard, WorkFolder, cut_clips, group
from avctl.curate.worker import Budget, Fault
from avctl.media.engines.pyav import PyAV
from avctl.media.mux import write_mp4
from avctl.recipe.content import sha256
from avctl.schema import Clip, Preprocess, Shots, TransNet

Scene = Callable[..., np.ndarray]
CLIP = Clip(seconds=0.5, size=(16, 16), fps=16, sample_rate=8_000, channels=1)


def source(name: str, folder: Path = Path()) -> Source:
    path = folder / f"{name}.mp4"
    return Source(sha256(path) if path.is_file() else name * 64, path, name, None, None, None)


def test_small_files_share_a_shard_and_films_have_their_own() -> None:
    sources = [(source(name), size) for name, size in zip("abcdef", (1, 1, 1, SHARD_BYTES, 1, 1), strict=True)]
    assert ["".join(s.name for s in shard) for shard in group(sources, 2)] == ["ab", "c", "d", "ef"]
    assert group([], 2) == []


def test_a_worker_goes_on_behind_what_is_done_and_cuts_off_what_its_forerunner_left(tmp_path: Path) -> None:
    for name in "ab":
        frames = np.full((8, 16, 16, 3), ord(name), np.uint8)
        write_mp4(tmp_path / f"{name}.mp4", frames, np.full((4_000, 1), 0.1, np.float32), 16, 8_000)
    (shard,) = group([(source(name, tmp_path), 1) for name in "ab"], 10)
    work = PrepareShard(tmp_path / "scratch", Preprocess(), CLIP)
    first = next(iter(work(shard, [])))
    for file in (FRAMES, AUDIO):
        with (tmp_path / "scratch" / shard.draft / file).open("ab") as stream:
            stream.write(b"half a clip")
    (second,) = work(shard, [first])
    assert (first.num_cut, second.num_cut) == (1, 1)
    frames = np.fromfile(tmp_path / "scratch" / shard.draft / FRAMES, np.uint8).reshape(2, 8, 16, 16, 3)
    assert np.abs(frames.mean(axis=(1, 2, 3, 4)) - (97, 98)).max() < 2


def candidate(name: str, frames: int, samples: int, size: tuple[int, int]) -> Candidate:
    return Candidate(0.0, {"fps": 16.0}, None, name, 0.0, 0, frames, samples, size)


def test_a_committed_shard_is_read_back_and_a_fault_is_an_outcome(tmp_path: Path) -> None:
    (shard,) = group([(source("a"), 1), (source("b"), 1)], 10)
    workspace = WorkFolder(tmp_path / "work", CLIP)
    folder = workspace.scratch / shard.draft
    folder.mkdir()
    cuts = [candidate("x", 8, 4_000, (16, 16)), candidate("y", 3, 1_500, (16, 32))]
    frames = [np.full((8, 16, 16, 3), 1, np.uint8), np.full((3, 16, 32, 3), 2, np.uint8)]
    audio = [np.full((4_000, 1), 1, np.int16), np.full((1_500, 1), 2, np.int16)]
    latents = [(np.ones((8, 2), np.float16), np.ones(5, np.float16)), (np.zeros((3, 2), np.float16),) * 2]
    for file, clips in ((FRAMES, frames), (AUDIO, audio)):
        (folder / file).write_bytes(b"".join(clip.tobytes() for clip in clips))
    workspace.write_latents(shard, latents)
    assert not workspace.is_committed(shard)
    good = Outcome(places=1, clips=[cuts[0], Candidate(1.0, {"fps": 16.0}, "blur"), cuts[1]])
    workspace.commit(shard, [good, Fault("timeout", "took longer than 1 s")])
    assert WorkFolder(tmp_path / "work", CLIP).is_committed(shard)
    assert workspace.outcomes(shard) == [good, Outcome(reason="timeout", detail="took longer than 1 s")]
    assert cut_clips(workspace.outcomes(shard)) == cuts
    found = workspace.latents(shard, 2)
    for read, written in (
        (workspace.frames(shard, cuts), frames),
        (workspace.audio(shard, cuts), audio),
        (found["video_latents"], [video for video, _ in latents]),
        (found["audio_latents"], [sound for _, sound in latents]),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(read, written, strict=True))


def test_a_shard_of_other_files_or_of_another_decoder_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,), (other,) = (group([(source(name), 1)], 10) for name in "ab")
    workspace = WorkFolder(tmp_path / "work", CLIP)

    def commit(shard: Shard, reason: str) -> None:
        (workspace.scratch / shard.draft).mkdir()
        workspace.commit(shard, [Outcome(reason)])

    commit(one, "first")
    assert one.name == other.name and workspace.is_committed(one) and not workspace.is_committed(other)
    commit(other, "second")
    assert workspace.is_committed(other) and workspace.outcomes(other)[0].reason == "second"
    monkeypatch.setattr(PyAV, "version", "99")
    assert not workspace.is_committed(other)
    commit(other, "third")
    assert workspace.is_committed(other) and workspace.outcomes(other)[0].reason == "third"
    workspace.withdraw(other)
    assert not workspace.is_committed(other)
    workspace.withdraw(other)  # a kill may have come after it


def test_a_shard_of_which_no_clip_passed_holds_none(tmp_path: Path) -> None:
    (shard,) = group([(source("a"), 1)], 10)
    workspace = WorkFolder(tmp_path / "work", CLIP)
    (workspace.scratch / shard.draft).mkdir()
    workspace.write_latents(shard, [])
    workspace.commit(shard, [Outcome("empty")])
    assert workspace.frames(shard, []) == workspace.audio(shard, []) == []
    assert workspace.latents(shard, 0) == {"video_latents": [], "audio_latents": []}


def test_what_a_killed_run_left_is_swept_and_what_it_committed_stays(tmp_path: Path) -> None:
    first = WorkFolder(tmp_path / "work", CLIP)
    (first.scratch / "00007").mkdir()
    second = WorkFolder(tmp_path / "work", CLIP)
    assert not first.scratch.exists()
    assert second.scratch.exists()


def test_the_libraries_of_a_detector_do_not_count_as_the_memory_of_an_item(tmp_path: Path, scene: Scene) -> None:
    frames = np.concatenate([scene(1, 16, (16, 16)), scene(2, 16, (16, 16))])
    write_mp4(tmp_path / "a.mp4", frames, np.full((16_000, 1), 0.1, np.float32), 16, 8_000)
    shards = group([(source("a", tmp_path), 1)], 10)
    work = PrepareShard(tmp_path / "scratch", Preprocess(shots=Shots(detector=TransNet())), CLIP)
    pool: LocalPool[Shard, Outcome] = LocalPool(work, 1, Budget(60.0, 1_000, 1_000))
    with pool.run(shards) as steps:
        ((outcome,),) = [step.results for step in steps if step and step.is_finished]
    assert isinstance(outcome, Outcome)
    assert outcome.facts["shots"] == 2
