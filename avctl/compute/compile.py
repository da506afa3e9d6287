"""When `torch.compile` pays: it takes a minute or two, and then a step takes a tenth less."""

from __future__ import annotations

import shutil

import torch

from avctl.errors import MachineError
from avctl.schema import Runtime

PAYS_FROM = 10_000  # steps: on two cores small models had earned a cold start back after 1,400 to 7,100


def compiles(runtime: Runtime, steps: int, device: torch.device) -> bool:
    """Whether a model that takes so many steps of training, or what is as long, is compiled: as `runtime.compile` says,
    or where it pays.

    The answer depends on nothing that is measured, so that training twice gives equal bytes. MachineError where it is
    asked for and there is no C++ compiler.
    """
    has_compiler = device.type != "cpu" or any(map(shutil.which, ("g++", "clang++", "c++")))
    if runtime.compile and not has_compiler:
        raise MachineError("`runtime.compile` needs a C++ compiler", hint="apt-get install g++")
    if runtime.compile is None:
        return device.type == "cpu" and steps >= PAYS_FROM and has_compiler
    return runtime.compile
