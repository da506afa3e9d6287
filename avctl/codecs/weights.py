"""Weights from safetensors into a module, with one error for all that can be wrong with the file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from avctl.errors import InputError


def load_weights(module: nn.Module, file: Path) -> None:
    """Set all of `module` from `file`. InputError where it is missing, damaged, or of another module."""
    try:
        module.load_state_dict(load_file(file))
    except FileNotFoundError as error:
        raise InputError(f"there are no weights at `{file}`") from error
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"`{file}` is damaged or holds the weights of another model: {reason}") from error
