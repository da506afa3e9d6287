"""Where tensors live and on how many threads: the `runtime` section made real."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from avctl.compute.memory import keep_freed_memory
from avctl.errors import MachineError
from avctl.kernels import attention_choice
from avctl.schema import Runtime


def prepare(runtime: Runtime, out: Path | None = None) -> torch.device:
    """Set torch's threads, memory and determinism, and who computes attention, which `out` keeps where it is measured;
    the device to work on. MachineError where it does not exist."""
    keep_freed_memory()
    attention_choice.use(runtime.attention, out and out / "attention.json")
    torch.set_num_threads(runtime.num_threads)
    torch.use_deterministic_algorithms(True, warn_only=False)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    match runtime.device:
        case "cpu":
            return torch.device("cpu")
        case "cuda" if not torch.cuda.is_available():
            raise MachineError(
                "the recipe asks for `runtime.device` cuda, and there is none", hint="-o runtime.device=auto"
            )
        case "auto" if not torch.cuda.is_available():
            return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    return torch.device("cuda")
