"""Where each value of a recipe comes from: its default, a line of a recipe, or an override."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avctl.recipe.errors import Where
from avctl.recipe.spec import Origin, Spec, fields, origins

DEFAULT = "default"
_SCHEMA = str(Path(__file__).resolve().parents[1] / "schema")


@dataclass(frozen=True)
class Value:
    """One leaf: its dotted path as `-o` takes it, its value, and `default`, `file:line` or `-o path=value`."""

    path: str
    value: Any
    origin: str


def values(recipe: Spec) -> list[Value]:
    """Every leaf of the recipe, in the order of the schema."""
    return list(_walk(recipe, "", None))


def _walk(value: Any, path: str, origin: Origin | None) -> Iterator[Value]:
    match value:
        case Spec():
            for name, inner in fields(value).items():
                at = origins(value).get(name)
                yield from _walk(inner, f"{path}.{name}".lstrip("."), at.narrow(name) if isinstance(at, Where) else at)
        case tuple() if any(isinstance(item, Spec) for item in value):
            for index, item in enumerate(value):
                yield from _walk(item, f"{path}.{index}", origin)
        case _:
            yield Value(path, value, _shown(origin))


def _shown(origin: Origin | None) -> str:
    if isinstance(origin, Where):
        return DEFAULT if origin.file.startswith(_SCHEMA) else str(origin).rpartition(":")[0]
    return origin or DEFAULT
