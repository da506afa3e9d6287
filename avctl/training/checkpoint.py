"""Checkpoints: staged, fsynced, renamed; verified when read; the last one stays until the next is complete.

A checkpoint is a folder `step-00000500/` of safetensors files and a `state.json` with the step and every file's sha256.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from avctl.files import sync
from avctl.job import InputError
from avctl.recipe.content import sha256

STATE = "state.json"


class Checkpoints:
    """The checkpoints of one run, the newest `keep` of them."""

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = folder, keep

    def save(self, step: int, parts: dict[str, dict[str, Tensor]]) -> None:
        """Write the tensors of each part, then make the checkpoint visible by one rename."""
        final = self.folder / f"step-{step:08d}"
        staged = final.with_suffix(".staged")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        for name, tensors in parts.items():
            save_file({k: v.contiguous() for k, v in tensors.items()}, staged / f"{name}.safetensors")
        sums = {file.name: sha256(file) for file in sorted(staged.iterdir())}
        (staged / STATE).write_text(json.dumps({"step": step, "sha256": sums}))
        for path in (*staged.iterdir(), staged):
            sync(path)
        shutil.rmtree(final, ignore_errors=True)
        staged.rename(final)
        sync(self.folder)
        for old in self._finished()[: -self.keep]:
            shutil.rmtree(old)

    def latest(self) -> tuple[int, dict[str, dict[str, Tensor]]] | None:
        """Step and parts of the newest checkpoint. InputError where it does not match its checksums."""
        finished = self._finished()
        if not finished:
            return None
        newest = finished[-1]
        try:
            state = json.loads((newest / STATE).read_text())
            step, sums = int(state["step"]), dict(state["sha256"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise _damaged(newest, STATE) from error
        for name, expected in sums.items():
            if not (newest / name).is_file() or sha256(newest / name) != expected:
                raise _damaged(newest, name)
        return step, {Path(name).stem: load_file(newest / name) for name in sums}

    def _finished(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("step-*") if p.suffix != ".staged")


def _damaged(checkpoint: Path, file: str) -> InputError:
    return InputError(
        f"checkpoint `{checkpoint.name}` is damaged: `{file}` is not what was saved",
        hint=f"remove `{checkpoint}` to go on from the one before it",
    )
