"""What an artifact was made from, and what was made from it: the chain from a generated clip back to its sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from avctl.artifact import manifest
from avctl.artifact.store import Store
from avctl.errors import InputError


@dataclass(frozen=True)
class Link:
    """One artifact in a lineage. `depth` counts from where the walk began; `role` is what the one above calls it."""

    role: str
    stage: str
    fingerprint: str
    folder: Path | None  # None: it is gone
    depth: int
    has_changed: bool = False  # it holds other data now than when it was read


def ancestry(store: Store, folder: Path) -> Iterator[Link]:
    """The artifact itself, then depth first all that it was made from. Raises InputError."""
    made = manifest.read(folder)
    yield Link(made.stage, made.stage, made.fingerprint, folder, 0)
    yield from _made_from(store, folder, 1)


def _made_from(store: Store, folder: Path, depth: int) -> Iterator[Link]:
    for role, row in manifest.read(folder).inputs.items():
        found = store.find(row["stage"], row["fingerprint"]) or _elsewhere(store, row)
        has_changed = found is not None and manifest.read(found).digest != row["digest"]
        yield Link(role, row["stage"], row["fingerprint"], found, depth, has_changed)
        if found:
            yield from _made_from(store, found, depth + 1)


def _elsewhere(store: Store, row: Mapping[str, str]) -> Path | None:
    """Where the input lay that was read, if an artifact still does: in another store."""
    folder = store.root / row["path"]
    return folder if (folder / manifest.NAME).exists() else None


def descendants(store: Store, digests: set[str]) -> list[Path]:
    """Every folder of the store whose data goes back to artifacts with these digests, in the order of work."""
    known, found = set(digests), []
    rows = [(folder, manifest.read(folder)) for folder in store.folders()]
    while True:
        new = [
            (folder, made) for folder, made in rows
            if folder not in found and any(row["digest"] in known for row in made.inputs.values())
        ]  # fmt: skip
        if not new:
            return found
        found += [folder for folder, _ in new]
        known |= {made.digest for _, made in new if made.digest}


def artifact(store: Store, name: str) -> Path:
    """An artifact by its path, its folder's name or its fingerprint. Raises InputError."""
    if (Path(name) / manifest.NAME).exists():
        return Path(name)
    for folder in store.folders():
        if folder.name == name or folder.name.endswith(f"-{name}"):
            return folder
    raise InputError(f"no artifact `{name}` in `{store.root}`", "`avctl ls` lists them")
