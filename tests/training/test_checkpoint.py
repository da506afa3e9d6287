"""A checkpoint is there whole or not at all; the last good one outlives any accident."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from avctl.job import InputError
from avctl.training.checkpoint import STATE, Checkpoints


def parts(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"model": {"w": torch.full((3,), value)}, "optimizer": {"0.0.step": torch.tensor(value)}}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_comes_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "deep" / "folder")
    assert checkpoints.latest() is None
    checkpoints.save(9, parts(1.0))
    checkpoints.save(10, parts(2.0))
    latest = checkpoints.latest()
    assert latest is not None and latest[0] == 10
    assert torch.equal(latest[1]["model"]["w"], torch.full((3,), 2.0))
    assert torch.equal(latest[1]["optimizer"]["0.0.step"], torch.tensor(2.0))


def test_tensors_keep_their_bits_and_types(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {"a": torch.randn(5, 4, generator=generator).T, "b": torch.tensor(3), "c": torch.randn(2).bfloat16()}
    Checkpoints(tmp_path).save(1, {"model": tensors, "log": {}})
    latest = Checkpoints(tmp_path).latest()
    assert latest is not None and latest[1]["log"] == {}
    for name, tensor in tensors.items():
        assert torch.equal(latest[1]["model"][name], tensor) and latest[1]["model"][name].dtype == tensor.dtype


def test_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 100, 1_000):
        Checkpoints(tmp_path).save(step, parts(step))
    assert names(tmp_path) == ["step-00000100", "step-00001000"]


def test_an_older_one_is_there_until_the_next_is_complete(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, parts(1.0))
    with pytest.raises(AttributeError):  # what is saved is wrong, in its second part
        checkpoints.save(2, {"model": parts(2.0)["model"], "optimizer": {"step": "not a tensor"}})  # pyright: ignore[reportArgumentType]
    latest = checkpoints.latest()
    assert latest is not None and latest[0] == 1


def test_what_a_killed_save_left_is_ignored_and_replaced(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, parts(1.0))
    checkpoints.save(2, parts(2.0))
    shutil.move(tmp_path / "step-00000002", tmp_path / "step-00000002.staged")  # killed just before the rename
    (tmp_path / "step-00000002.staged" / "model.safetensors").write_bytes(b"half")
    latest = checkpoints.latest()
    assert latest is not None and latest[0] == 1
    checkpoints.save(2, parts(3.0))
    latest = checkpoints.latest()
    assert latest is not None and latest[0] == 2 and latest[1]["model"]["w"][0] == 3.0
    assert names(tmp_path) == ["step-00000001", "step-00000002"]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("how", ["flipped", "cut off", "missing"])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, file: str, how: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, parts(1.0))
    checkpoints.save(2, parts(2.0))
    path = tmp_path / "step-00000002" / file
    data = path.read_bytes()
    path.unlink() if how == "missing" else path.write_bytes(
        data[:-1] + bytes([data[-1] ^ 1]) if how == "flipped" else data[:-1]
    )
    with pytest.raises(InputError, match=f"`step-00000002` is damaged: `{file}`") as error:
        checkpoints.latest()
    assert str(tmp_path / "step-00000002") in (error.value.hint or "")
    shutil.rmtree(tmp_path / "step-00000002")  # what the hint says
    latest = checkpoints.latest()
    assert latest is not None and latest[0] == 1


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"step": "x", "sha256": {}}'])
def test_a_damaged_list_of_files_is_refused_by_name(tmp_path: Path, text: str | None) -> None:
    Checkpoints(tmp_path).save(1, parts(1.0))
    state = tmp_path / "step-00000001" / STATE
    state.unlink() if text is None else state.write_text(text)
    with pytest.raises(InputError, match=f"is damaged: `{STATE}`"):
        Checkpoints(tmp_path).latest()


def test_nothing_is_pickled(tmp_path: Path) -> None:
    Checkpoints(tmp_path).save(1, parts(1.0))
    assert names(tmp_path / "step-00000001") == ["model.safetensors", "optimizer.safetensors", STATE]
