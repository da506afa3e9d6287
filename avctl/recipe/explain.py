"""What pydantic found wrong with a section, as sentences that point at the keyword and say what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from avctl.recipe.annotation import choices, describe
from avctl.recipe.errors import Problem, Where

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

_FIELD = re.compile(r"`(\w+)`: (.*)", re.DOTALL)


def explain(
    cls: type[BaseModel], error: ValidationError, where: Where | None, skip: Collection[str] = ()
) -> list[Problem]:
    """One problem an error of `cls(...)` built at `where`; fields in `skip` are wrong inside and reported there."""
    details = error.errors(include_url=False)
    return [_problem(cls, one, where) for one in details if not (skip and (not one["loc"] or one["loc"][0] in skip))]


def near(word: str, known: Iterable[str]) -> str | None:
    """``did you mean `x`?`` for the nearest of `known`, if one is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean `{found[0]}`?" if found else None


def _problem(cls: type[BaseModel], error: ErrorDetails, where: Where | None) -> Problem:
    owner, kind, loc, value = cls.__name__, error["type"], error["loc"], error["input"]
    name = str(loc[0]) if loc else ""
    place = where.narrow(name, *_indices(loc)) if where and name else where
    if kind == "missing" and len(loc) == 1:
        return Problem(f"`{owner}` needs `{name}`", where, f"add `{name}=...`, {describe(_annotation(cls, name))}")
    if kind == "extra_forbidden" and len(loc) == 1:
        hint = near(name, cls.model_fields) or f"it has {_listed(cls.model_fields)}"
        return Problem(f"`{owner}` has no field `{name}`", place, hint)
    if kind == "value_error":
        return _from_validator(owner, name, error, where)
    if kind in _BOUNDS:
        return Problem(f"`{owner}.{name}` {_bound(error)}, got {value!r}", place)
    expected = describe(_annotation(cls, name), *_indices(loc))
    hint = near(value, choices(_annotation(cls, name))) if isinstance(value, str) else None
    if isinstance(value, list) and "tuple" in expected:
        hint = "write a tuple: `(a, b)`"
    return Problem(f"`{owner}.{name}` must be {expected}, got {_shown(value)}", place, hint)


def _from_validator(owner: str, name: str, error: ErrorDetails, where: Where | None) -> Problem:
    """A validator's `ValueError`: "`field`: why; what works"."""
    text = str(error.get("ctx", {}).get("error", error["msg"]))
    if match := _FIELD.fullmatch(text):
        name, text = match.groups()
    why, _, works = text.partition("; ")
    place = where.narrow(name) if where and name else where
    return Problem(f"`{owner}.{name}`: {why}" if name else f"`{owner}`: {why}", place, works or None)


_BOUNDS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": "must match `{pattern}`",
    "finite_number": "must be a finite number",
    "too_short": "needs at least {min_length} of them",
    "too_long": "takes at most {max_length} of them",
}


def _bound(error: ErrorDetails) -> str:
    return _BOUNDS[error["type"]].format(**error.get("ctx", {}))


def _annotation(cls: type[BaseModel], name: str) -> Any:
    return cls.model_fields[name].annotation


def _indices(loc: tuple[int | str, ...]) -> tuple[int, ...]:
    return tuple(part for part in loc[1:] if isinstance(part, int))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shown(value: Any) -> str:
    """A section by its type, anything else as written."""
    from avctl.recipe.spec import Spec

    return f"`{type(value).__name__}(...)`" if isinstance(value, Spec) else repr(value)
