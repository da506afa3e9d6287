"""The text of a value on the command line, read by the type of the field that it is for."""

from __future__ import annotations

import ast
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from avctl.recipe.annotation import choices, members
from avctl.recipe.explain import near

_WORDS: dict[Any, dict[str, Any]] = {NoneType: {"none": None}, bool: {"true": True, "false": False}}


class Unreadable(Exception):
    """The text is no value of the type; `hint` names the nearest choice, if there is one."""

    def __init__(self, hint: str | None = None):
        super().__init__(hint)
        self.hint = hint


def parse(text: str, annotation: Any) -> Any:
    """`none`, `true`, `3e-4`, a word of a `Literal`, text, a path, a tuple `2,3` or `(2,3)`. Raises Unreadable."""
    for member in sorted(members(annotation), key=lambda member: member is not NoneType):
        try:
            return _parse_as(text, member)
        except (Unreadable, ValueError):
            continue
    raise Unreadable(near(text, choices(annotation)))


def _parse_as(text: str, member: Any) -> Any:
    if get_origin(member) is Literal:
        words = {str(arg): arg for arg in get_args(member)}
        return words[text] if text in words else _refuse()
    if get_origin(member) is tuple:
        return _parse_tuple(text, get_args(member))
    if member in _WORDS:
        return _WORDS[member][text.lower()] if text.lower() in _WORDS[member] else _refuse()
    return member(text) if member in (int, float, str, Path) else _refuse()


def _parse_tuple(text: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    parts = _parts(text.strip())
    if args[-1] is Ellipsis:
        return tuple(parse(part, args[0]) for part in parts)
    if len(parts) != len(args):
        raise Unreadable
    return tuple(parse(part, arg) for part, arg in zip(parts, args, strict=True))


def _parts(text: str) -> list[str]:
    """The elements of `2,3`, `(2,3)` or `("a, b", "c")`, as text."""
    if text.startswith("(") and text.endswith(")"):
        try:
            return [str(part) for part in ast.literal_eval(f"[{text[1:-1]}]")]
        except (ValueError, SyntaxError):
            text = text[1:-1]
    return [part.strip() for part in text.removesuffix(",").split(",")] if text.strip() else []


def _refuse() -> Any:
    raise Unreadable
