"""`-o train.optim.lr=3e-4`: change one leaf of a recipe from the command line.

All changes are made first and the recipe is checked again as a whole, from the inside out: two overrides may be
right together that are wrong alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from avctl.recipe.annotation import describe, element
from avctl.recipe.errors import Problem, RecipeError
from avctl.recipe.explain import near
from avctl.recipe.parse import Unreadable, parse
from avctl.recipe.spec import Spec, fields, origins, set_origins

S = TypeVar("S", bound=Spec)


@dataclass
class _Edit:
    """What is to change at one place of the recipe: a new value, or edits further down."""

    texts: list[str] = field(default_factory=list)  # the overrides that go through here
    value: Any = None
    is_leaf: bool = False
    below: dict[str, _Edit] = field(default_factory=dict)


def override(spec: S, *assignments: str) -> S:
    """`spec` with each `path=value` applied, in order. Raises RecipeError that points at the `-o` text."""
    root = _Edit()
    for text in assignments:
        path, equals, raw = text.partition("=")
        if not equals:
            raise RecipeError(f"`{text}` is not `path=value`", f"-o {text}", "for instance `-o train.steps=100`")
        _plan(root, spec, path.strip(), raw, text)
    return _apply(spec, root) if assignments else spec


def leaves(value: Any, prefix: str = "") -> list[str]:
    """Every dotted path that `-o` accepts, for `plan` and for "did you mean"."""
    match value:
        case Spec():
            return [leaf for name, inner in fields(value).items() for leaf in leaves(inner, f"{prefix}{name}.")]
        case tuple() if any(isinstance(item, Spec) for item in value):
            return [leaf for i, item in enumerate(value) for leaf in leaves(item, f"{prefix}{i}.")]
    return [prefix.removesuffix(".")]


def _plan(root: _Edit, spec: Spec, path: str, raw: str, text: str) -> None:
    """Walk down to the leaf that `path` names, read `raw` by its type, and note the change in `root`."""
    edit, value, annotation = root, spec, None
    edit.texts.append(text)
    for part in path.split("."):
        if isinstance(value, Spec) and part in type(value).model_fields:
            annotation, value = type(value).model_fields[part].annotation, getattr(value, part)
        elif isinstance(value, tuple) and part.isdecimal() and int(part) < len(value):
            annotation, value = element(annotation, int(part)), value[int(part)]
        else:
            raise _unknown(spec, path, value, part, text)
        edit = edit.below.setdefault(part, _Edit())
        edit.texts.append(text)
    try:
        edit.value, edit.is_leaf = parse(raw, annotation), True
    except Unreadable as error:
        if isinstance(value, Spec):
            inner = [leaf.removeprefix(f"{path}.") for leaf in leaves(value, f"{path}.")]
            raise RecipeError(
                f"`{path}` is a section, not a value", f"-o {text}", f"set one of {_some(inner)}"
            ) from None
        raise RecipeError(f"`{path}` must be {describe(annotation)}, got `{raw}`", f"-o {text}", error.hint) from None


def _unknown(spec: Spec, path: str, value: Any, part: str, text: str) -> RecipeError:
    known = leaves(spec)
    if value is None:
        done = path[: path.index(f".{part}")] if f".{part}" in path else path
        return RecipeError(f"`{done}` is None in this recipe", f"-o {text}", "write the section in the recipe")
    if isinstance(value, tuple):
        return RecipeError(f"no field `{path}`", f"-o {text}", f"`{part}` must be an index below {len(value)}")
    hint = near(path, known) or (near(part, type(value).model_fields) if isinstance(value, Spec) else None)
    return RecipeError(f"no field `{path}`", f"-o {text}", hint)


def _apply(value: Any, edit: _Edit) -> Any:
    if edit.is_leaf and not edit.below:
        return edit.value
    if isinstance(value, tuple):
        items = list(edit.value if edit.is_leaf else value)
        for part, inner in edit.below.items():
            items[int(part)] = _apply(items[int(part)], inner)
        return tuple(items)
    changes = {name: _apply(getattr(value, name), inner) for name, inner in edit.below.items()}
    try:
        new = type(value)(**{**fields(value), **changes})
    except RecipeError as error:
        raise RecipeError.of([Problem(p.message, f"-o {_culprit(p, edit)}", p.hint) for p in error.problems]) from None
    set_origins(new, {**origins(value), **{name: f"-o {edit.below[name].texts[-1]}" for name in changes}})
    return new


def _culprit(problem: Problem, edit: _Edit) -> str:
    """The override that names the field of the problem, else the last that touched its section."""
    if isinstance(problem.where, str):
        return problem.where.removeprefix("-o ")
    named = [inner.texts[-1] for name, inner in edit.below.items() if f".{name}`" in problem.message]
    return named[-1] if named else edit.texts[-1]


def _some(names: Sequence[str], limit: int = 6) -> str:
    more = ", ..." if len(names) > limit else ""
    return ", ".join(f"`{name}`" for name in names[:limit]) + more
