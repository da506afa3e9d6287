"""The model is compiled where that is asked for, and where a long training on a processor earns it back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avctl.compute.compile import PAYS_FROM, compiles
from avctl.errors import MachineError
from avctl.schema import Runtime

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only one that is found."""
    path = tmp_path / "g++"
    path.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return path


def test_it_is_as_the_recipe_says_or_where_it_pays(compiler: Path) -> None:
    assert compiles(Runtime(compile=True), 1, CPU) and not compiles(Runtime(compile=False), PAYS_FROM, CPU)
    assert compiles(Runtime(), PAYS_FROM, CPU) and not compiles(Runtime(), PAYS_FROM - 1, CPU)
    assert compiles(Runtime(compile=True), 1, GPU) and not compiles(Runtime(), PAYS_FROM, GPU)


def test_without_a_compiler_it_is_refused_if_it_was_asked_for(compiler: Path) -> None:
    compiler.unlink()
    assert not compiles(Runtime(), PAYS_FROM, CPU)
    with pytest.raises(MachineError, match=r"needs a C\+\+ compiler"):
        compiles(Runtime(compile=True), 1, CPU)
