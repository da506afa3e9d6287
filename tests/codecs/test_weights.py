"""Whatever is wrong with a file of weights, the error names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from avctl.codecs.weights import load_weights
from avctl.errors import InputError


def test_weights_are_set(tmp_path: Path) -> None:
    saved, module = nn.Linear(3, 2), nn.Linear(3, 2)
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    load_weights(module, tmp_path / "w.safetensors")
    assert torch.equal(module.weight, saved.weight) and torch.equal(module.bias, saved.bias)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no weights at `.*w\.safetensors`"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 100])
def test_a_cut_off_file_is_named(tmp_path: Path, keep: int) -> None:
    save_file(nn.Linear(30, 20).state_dict(), tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[:keep])
    with pytest.raises(InputError, match=r"w\.safetensors` is damaged"):
        load_weights(nn.Linear(30, 20), tmp_path / "w.safetensors")


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="is damaged"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    save_file(nn.Linear(3, 2).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"another model: .*size mismatch for weight"):
        load_weights(nn.Linear(4, 2), tmp_path / "w.safetensors")
