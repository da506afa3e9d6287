"""Where tensors live and on how many threads: the `runtime` section made real."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

from avctl.errors import MachineError
from avctl.schema import Runtime

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt (malloc.h)


def prepare(runtime: Runtime) -> torch.device:
    """Set torch's threads, memory and determinism; the device to work on. MachineError where it does not exist."""
    _keep_freed_memory()
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


def _keep_freed_memory() -> None:
    """Let glibc keep what one step frees for the next, instead of giving it back and asking for it again.

    A step of a small model otherwise spends up to a seventh of its time on page faults. Other C libraries lack the
    call, and do as they do.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_MMAP_THRESHOLD, 32 * 2**20)  # the largest that it takes
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
