"""`<store>/<stage>/<recipe name>-<fingerprint>/`: artifacts are found by fingerprint, whatever their name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from avctl.artifact import manifest
from avctl.artifact.hashes import HashCache
from avctl.artifact.lock import is_locked
from avctl.errors import InputError
from avctl.recipe.content import content_hash, sha256

Status = Literal["done", "running", "interrupted", "failed", "absent"]
PARTIAL = ".partial"


@dataclass(frozen=True)
class Store:
    """A folder of artifacts; `also` names further stores that inputs may lie in, `given` single inputs."""

    root: Path
    also: tuple[Path, ...] = ()
    given: Mapping[str, Path] = field(default_factory=dict)

    def find(self, stage: str, fingerprint: str) -> Path | None:
        """The finished artifact."""
        return _find(self.root, stage, fingerprint)

    def find_input(self, stage: str, fingerprint: str) -> Path | None:
        """The same for an artifact that is only read, which may have been given or lie in another store."""
        if fingerprint in self.given:
            return self.given[fingerprint]
        return next(filter(None, (_find(root, stage, fingerprint) for root in (self.root, *self.also))), None)

    def partial(self, stage: str, fingerprint: str) -> Path | None:
        """The working folder of a run that goes on, or that was left."""
        return next(iter(sorted((self.root / stage).glob(f"*-{glob.escape(fingerprint)}{PARTIAL}"))), None)

    def lock_file(self, stage: str, fingerprint: str) -> Path:
        return self.root / stage / f".{fingerprint}.lock"

    def status(self, stage: str, fingerprint: str) -> Status:
        """What there is of an artifact."""
        if is_locked(self.lock_file(stage, fingerprint)):
            return "running"
        if self.find(stage, fingerprint):
            return "done"
        return self.working_state(stage, fingerprint)

    def working_state(self, stage: str, fingerprint: str) -> Status:
        """What there is of its working folder. A run that was killed counts as interrupted: it can go on."""
        partial = self.partial(stage, fingerprint)
        if partial is None:
            return "absent"
        if is_locked(self.lock_file(stage, fingerprint)):
            return "running"
        try:
            return "failed" if manifest.read(partial).state == "failed" else "interrupted"
        except InputError:  # the kill came before the first manifest
            return "interrupted"

    def folders(self) -> Iterator[Path]:
        """Every finished artifact and every working folder, in the order of names."""
        for found in sorted(self.root.glob(f"*/*/{manifest.NAME}")):
            yield found.parent

    def content(self, path: Path) -> str:
        """Hash of an outside file or folder. Unchanged files are not read again. Raises InputError."""
        if path.is_dir() and self.root.resolve().is_relative_to(path.resolve()):
            raise InputError(
                f"the store `{self.root}` lies inside the source `{path}`",
                "every run would change the source; name a store elsewhere with `--store`",
            )
        with HashCache(self.root / ".hashes.sqlite") as cache:
            return content_hash(path, cache.file_hash)


def _find(root: Path, stage: str, fingerprint: str) -> Path | None:
    found = sorted((root / stage).glob(f"*-{glob.escape(fingerprint)}"))
    return next((folder for folder in found if folder.is_dir()), None)


UNCHECKED = (".safetensors", ".sqlite", ".json", ".jsonl")  # carry no checksums of their own, as Zarr's chunks do


def require_intact(folder: Path, *, to_be_read: bool = False) -> manifest.Manifest:
    """The manifest of a finished artifact whose data files are all there at their size; those with a suffix in
    `UNCHECKED` with their checksum too, where the artifact is `to_be_read`. Raises InputError."""
    found = manifest.read(folder)
    if found.state != "done":
        raise InputError(f"`{folder}` is not finished ({found.state})", "run the command that makes it again")
    for path, file in found.files.items():
        try:
            size = os.stat(f"{folder}/{path}").st_size  # of `pathlib`, ten thousand cost a tenth of a second
        except OSError:
            raise _damaged(folder, f"`{path}` is missing") from None
        if size != file["bytes"]:
            raise _damaged(folder, f"`{path}` has {size} bytes instead of {file['bytes']}")
        if to_be_read and path.endswith(UNCHECKED) and sha256(folder / path) != file["sha256"]:
            raise _damaged(folder, f"`{path}` has changed")
    return found


def verify(folder: Path) -> list[str]:
    """Everything that differs from the manifest, checksums included; nothing in a sound artifact."""
    recorded, present = manifest.read(folder).files, manifest.checksums(folder)
    missing = [f"`{path}` is missing" for path in recorded.keys() - present.keys()]
    extra = [f"`{path}` does not belong to it" for path in present.keys() - recorded.keys()]
    changed = [f"`{path}` has changed" for path in recorded.keys() & present.keys() if recorded[path] != present[path]]
    return sorted(missing + extra + changed)


def _damaged(folder: Path, what: str) -> InputError:
    return InputError(f"`{folder}` is damaged: {what}", "make it again with `--force`; the old folder is moved aside")
