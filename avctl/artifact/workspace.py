"""The folder that a stage writes: taken over or made new under a lock, and finished by one rename.

`<name>-<fp>.partial` -> fsync -> manifest says done -> read-only -> rename to `<name>-<fp>`. A kill at any point leaves
a working folder that the same command picks up.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from avctl.artifact import manifest
from avctl.artifact.lock import Lock
from avctl.artifact.manifest import Manifest, State
from avctl.artifact.store import PARTIAL, Store
from avctl.errors import InputError
from avctl.files import PARTS, sync
from avctl.pipeline import Step
from avctl.recipe.snapshot import freeze

Inputs = Mapping[str, dict[str, str]]


class Workspace:
    """A step at work: `path` is the working folder. Raises LockedError while another process has it."""

    def __init__(self, store: Store, step: Step, inputs: Inputs, overrides: Sequence[str] = ()):
        self.store, self.step = store, step
        self.final = store.root / step.stage.name / step.folder
        self._lock = Lock(store.lock_file(step.stage.name, step.fingerprint), f"`{self.final}`")
        self.path = store.partial(step.stage.name, step.fingerprint) or self.final.with_name(self.final.name + PARTIAL)
        commit, is_dirty = manifest.commit()
        self._manifest = Manifest(
            stage=step.stage.name,
            name=step.recipe.name,
            fingerprint=step.fingerprint,
            version=step.stage.version,
            state="running",
            inputs=dict(inputs),
            argv=manifest.argv(),
            overrides=list(overrides),
            commit=commit,
            is_dirty=is_dirty,
            versions=manifest.versions(),
            host=platform.node(),
        )
        self._start = time.time()

    def open(self, sources: Sequence[Path] = (), *, afresh: bool = False, seed: Path | None = None) -> bool:
        """Make the folder ready for a run; True if an earlier run had all but finished it.

        `afresh` moves aside what another command left there; so do inputs that changed since. The same command again
        goes on, though, whatever it asked for. `seed` is copied into a new folder.
        """
        before = _earlier(self.path)
        is_same = before is not None and before.argv == self._manifest.argv
        if (afresh and not is_same) or (before and _digests(before.inputs) != _digests(self._manifest.inputs)):
            move_aside(self.path)
            before = None
        if seed and not self.path.exists():
            _copy(seed, self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        if before and before.state == "done":
            self._manifest = before
            return True
        started = before.started if before else []
        seconds = before.seconds if before else 0.0
        self._manifest = replace(self._manifest, started=[*started, self._start], seconds=seconds)
        (self.path / "error.txt").unlink(missing_ok=True)
        freeze(self.step.recipe, sources, self.path)
        self._manifest.write(self.path)
        return False

    def seal(self) -> None:
        """Hash the data and put it on the disk; from here on the folder only lacks its name."""
        shutil.rmtree(self.path / "work", ignore_errors=True)
        for part in self.path.rglob(PARTS):  # of a run that was killed while it wrote them
            part.unlink()
        _sync_all(self.path)
        now = time.time()
        seconds = self._manifest.seconds + now - self._start
        done = replace(self._manifest, state="done", finished=now, seconds=round(seconds, 3))
        self._manifest = done.with_files(self.path)
        self._manifest.write(self.path)

    def finish(self) -> Path:
        """Turn the working folder into the artifact; one that stands in its place is moved aside."""
        if self._manifest.state != "done":
            self.seal()
        _make_read_only(self.path)
        if old := self.store.find(self.step.stage.name, self.step.fingerprint):
            move_aside(old)
        self.path.rename(self.final)
        sync(self.final.parent)
        return self.final

    def leave(self, state: State, error: str | None = None) -> None:
        """Keep the folder for the next run. A full disk must not hide why: what cannot be written is left out."""
        seconds = round(self._manifest.seconds + time.time() - self._start, 3)
        with contextlib.suppress(OSError):
            if error:
                (self.path / "error.txt").write_text(error)
            replace(self._manifest, state=state, seconds=seconds).write(self.path)

    def release(self) -> None:
        self._lock.release()


def move_aside(folder: Path) -> Path | None:
    """Rename a folder to `<name>.1`, `.2`, ... : nothing is ever deleted."""
    if not folder.exists():
        return None
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return folder.rename(aside)


def _earlier(folder: Path) -> Manifest | None:
    """The manifest of a working folder; None if a kill, or a full disk, came before there was one."""
    with contextlib.suppress(InputError):
        return manifest.read(folder)
    return None


def _digests(inputs: Inputs) -> dict[str, str]:
    return {name: each["digest"] for name, each in inputs.items()}


def _copy(source: Path, target: Path) -> None:
    temporary = target.with_name(f"{target.name}.copy")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    (temporary / manifest.NAME).unlink()
    for path in temporary.rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    temporary.rename(target)


def _sync_all(folder: Path) -> None:
    """Everything below `folder` is on the disk when this returns."""
    for where, _, names in os.walk(folder):
        for path in (*(Path(where, name) for name in names), Path(where)):
            sync(path)


def _make_read_only(folder: Path) -> None:
    """By whom the umask allows: some libraries write files that only their owner can read."""
    umask = os.umask(0o077)
    os.umask(umask)
    readable = 0o444 & ~umask
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod((path.stat().st_mode | readable) & ~0o222)
