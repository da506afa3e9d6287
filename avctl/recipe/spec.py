"""`Spec`: the base of every recipe section: frozen, keyword-only, strictly typed, and aware of its line.

pydantic checks the values; `Spec` adds the code position of the call that built it, so that an error can point
at the keyword, and remembers for each field where its value was written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError

from avctl.recipe.errors import Problem, RecipeError, Where
from avctl.recipe.explain import explain

S = TypeVar("S", bound="Spec")
Origin = Where | str  # the call that wrote a value, or the text of an override

PathField = Annotated[Path, Strict(False)]  # a path may be written as text; its *content* enters fingerprints


class Spec(BaseModel):
    """Base of every recipe section. Subclasses list fields; validators say what types cannot.

    A validator raises `ValueError("`field`: why; what works")`: the field gets the caret, the rest is the hint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    __slots__ = ("_origins",)

    def __init__(self, /, *args: Any, **values: Any):
        __tracebackhide__ = True
        where = _caller()
        object.__setattr__(self, "_origins", dict.fromkeys(values, where) if where else {})
        broken = [name for name, value in values.items() if _is_broken(value)]
        try:
            if args:
                raise RecipeError(f"`{type(self).__name__}` takes its fields by name", where, "write `field=value`")
            super().__init__(**values)
        except RecipeError as error:
            _give_up(self, values, list(error.problems))
        except ValidationError as error:
            _give_up(self, values, explain(type(self), error, where, skip=broken))
        except Exception:
            if not broken:
                raise
            _give_up(self, values, [])  # a validator stumbled over a section that is itself wrong

    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]  # plain data needs no call


def replace(base: S | None, /, **changes: Any) -> S:
    """A copy of `base` with some fields changed, checked again: how one recipe derives from another."""
    if not isinstance(base, Spec):
        raise RecipeError(f"`replace` takes a section, got {base!r}", _caller(), "replace(base, field=value)")
    new = type(base)(**{**fields(base), **changes})
    set_origins(new, {**{n: o for n, o in origins(base).items() if n not in changes}, **_only(origins(new), changes)})
    return new


def fields(spec: Spec) -> dict[str, Any]:
    """The values of a section by field; of a section that is being given up, those it has."""
    return {name: spec.__dict__[name] for name in type(spec).model_fields if name in spec.__dict__}


def origins(spec: Spec) -> Mapping[str, Origin]:
    """Where each field that was written (not left to its default) was written. Lost by pickling and copying."""
    return getattr(spec, "_origins", {})


def set_origins(spec: Spec, where: Mapping[str, Origin]) -> None:
    object.__setattr__(spec, "_origins", dict(where))


def mark(value: Any, origin: Origin) -> Any:
    """`value` with every field of every section in it said to come from `origin`."""
    if isinstance(value, Spec):
        set_origins(value, dict.fromkeys(fields(value), origin))
    for inner in fields(value).values() if isinstance(value, Spec) else value if isinstance(value, tuple) else ():
        mark(inner, origin)
    return value


def added(neutral: Any, **constraints: Any) -> Any:
    """A field added later: artifacts made before it keep their fingerprint while it equals `neutral`."""
    return Field(default=neutral, json_schema_extra={"added": True}, **constraints)


@dataclass
class _Collected:
    problems: list[Problem] = field(default_factory=list)
    broken: list[Spec] = field(default_factory=list)


_collected: _Collected | None = None


@contextmanager
def all_problems() -> Iterator[None]:
    """Go on after a wrong section, so that one reading of a recipe names everything that is wrong with it.

    A wrong section is stood in for by its unchecked values; whatever goes wrong because of that is not reported.
    """
    global _collected
    before, _collected = _collected, _Collected()
    collected = _collected
    try:
        yield
    except Exception as error:
        if collected.problems:
            raise RecipeError.of(collected.problems) from error
        raise
    finally:
        _collected = before
    if collected.problems:
        raise RecipeError.of(collected.problems)


def _give_up(spec: Spec, values: Mapping[str, Any], problems: list[Problem]) -> None:
    if _collected is None:
        raise RecipeError.of(problems) from None
    _collected.problems += problems
    _collected.broken.append(spec)
    known = _only(values, type(spec).model_fields)
    spec.__setstate__(type(spec).model_construct(**known).__getstate__())


def _is_broken(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_broken, value))
    return _collected is not None and any(value is spec for spec in _collected.broken)


def _only(values: Mapping[str, Any], names: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}


_OWN = (__file__, str(Path(pydantic.__file__).parent))


def _caller() -> Where | None:
    """The span of the call, in the user's file, that is building a spec."""
    frame = sys._getframe(1)
    while frame and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back
    if frame is None:
        return None
    line, end_line, col, end_col = next(islice(frame.f_code.co_positions(), frame.f_lasti // 2, None))
    if line is None or end_line is None or col is None or end_col is None:
        return None
    return Where(frame.f_code.co_filename, line, end_line, col, end_col)
