"""`Spec`: the base of every recipe section: frozen, keyword-only, strictly typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Strict

S = TypeVar("S", bound="Spec")

PathField = Annotated[Path, Strict(False)]  # a path may be written as text


class Spec(BaseModel):
    """Base of every recipe section. Subclasses list fields; validators say what types cannot."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def replace(base: S, /, **changes: Any) -> S:
    """A copy of `base` with some fields changed, checked again: how one recipe derives from another."""
    return type(base)(**{**{name: getattr(base, name) for name in type(base).model_fields}, **changes})
