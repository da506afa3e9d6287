"""The types of fields: taken apart for `-o`, and put into words for errors."""

from __future__ import annotations

from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin


def members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a type: unions (however nested) are opened, `Annotated` is taken off."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return tuple(member for part in get_args(annotation) for member in members(part))
    return (annotation,)


def element(annotation: Any, index: int) -> Any:
    """The type of element `index` of a tuple type, or None if it has no such element."""
    for member in members(annotation):
        if get_origin(member) is tuple:
            args = get_args(member)
            if args[-1] is Ellipsis:
                return args[0]
            return args[index] if index < len(args) else None
    return None


def choices(annotation: Any) -> tuple[str, ...]:
    """The words that a field accepts, of a `Literal` or a tuple of them."""
    found: list[str] = []
    for member in members(annotation):
        if get_origin(member) is Literal:
            found += [str(arg) for arg in get_args(member)]
        elif get_origin(member) is tuple:
            found += [word for arg in get_args(member) if arg is not Ellipsis for word in choices(arg)]
    return tuple(found)


def describe(annotation: Any, *indices: int) -> str:
    """A type in words: "`a`, `b` or none"; with `indices`, that of an element."""
    for index in indices:
        annotation = element(annotation, index) or annotation
    words = [word for member in members(annotation) for word in _words(member)]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _words(member: Any) -> list[str]:
    if get_origin(member) is Literal:
        return [repr(arg) for arg in get_args(member)]
    if get_origin(member) is tuple:
        args = get_args(member)
        if args[-1] is Ellipsis:
            return [f"a tuple of ({describe(args[0])})"]
        return [f"a tuple ({', '.join(map(describe, args))})"]
    plain = {int: "a whole number", float: "a number", str: "text", bool: "True or False", Path: "a path"}
    if member is NoneType:
        return ["None"]
    return [plain[member] if member in plain else f"`{getattr(member, '__name__', member)}`"]
