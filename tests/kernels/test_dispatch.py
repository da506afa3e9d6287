"""One place says what runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from avctl.kernels.dispatch import runs_triton


def test_kernels_run_where_all_tensors_are_on_a_gpu() -> None:
    here = torch.zeros(1)
    there: Any = SimpleNamespace(is_cuda=True)
    assert runs_triton(there, there)
    assert not runs_triton(there, here) and not runs_triton(here)
