"""Errors that point at the line of the recipe which caused them."""

from __future__ import annotations

import ast
import os
import tokenize
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from avctl.errors import Failure


@dataclass(frozen=True)
class Where:
    """A span of source: the call that built a spec, or one keyword inside it. Columns count UTF-8 bytes from 0."""

    file: str
    line: int
    end_line: int
    col: int
    end_col: int

    def __str__(self) -> str:
        file = Path(self.file)
        short = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
        return f"{short}:{self.line}:{len(_decoded(self._text(), self.col)) + 1}"

    def narrow(self, keyword: str, *indices: int) -> Where:
        """The span of `keyword=...` inside this call (of one element of its tuple), or this span if it is not there."""
        call = _calls(self.file, _modified(self.file)).get((self.end_line, self.end_col))
        node = next((k for k in call.keywords if k.arg == keyword), None) if call else None
        if node is None:
            return self
        value: ast.AST = node.value
        for index in indices:
            if not isinstance(value, ast.Tuple | ast.List) or index >= len(value.elts):
                return Where(self.file, *_span(node))
            value = value.elts[index]
        return Where(self.file, *_span(value if indices else node))

    def snippet(self) -> str:
        """The source line with carets under the span, in the manner of rustc; empty if there is no source."""
        text = self._text()
        if not text:
            return ""
        stop = self.end_col if self.end_line == self.line else len(text.encode())
        before = _decoded(text, self.col)
        carets = max(1, _cells(_decoded(text, stop)) - _cells(before))
        gutter = f"{self.line:>4} | "
        indent = "".join("\t" if c == "\t" else " " * _cells(c) for c in before)
        return f"{gutter}{text}\n{' ' * (len(gutter) - 2)}| {indent}{'^' * carets}"

    def _text(self) -> str:
        lines = _lines(self.file)
        return lines[self.line - 1] if 0 < self.line <= len(lines) else ""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a recipe: a sentence, its place (`-o ...` for an override), what works."""

    message: str
    where: Where | str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        parts = [f"error: {self.message}"]
        if self.where is not None:
            parts.append(f"  --> {self.where}")
        if isinstance(self.where, Where) and (snippet := self.where.snippet()):
            parts.append(snippet)
        if self.hint:
            parts += ["", f"hint: {self.hint}"]
        return "\n".join(parts)

    def plain(self) -> dict[str, object]:
        where = str(self.where) if self.where is not None else None
        return {"kind": "recipe", "message": self.message, "where": where, "hint": self.hint}


class RecipeError(Failure):
    """The recipe is wrong (exit 3). It carries every problem that was found, in the order of the source."""

    code, kind = 3, "recipe"

    def __init__(self, message: str, where: Where | str | None = None, hint: str | None = None):
        super().__init__(message, hint)
        self.where = where
        self.problems: tuple[Problem, ...] = (Problem(message, where, hint),)

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> RecipeError:
        """One error for all `problems` (at least one)."""
        first = problems[0]
        error = cls(first.message, first.where, first.hint)
        error.problems = tuple(dict.fromkeys(problems))
        return error

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        return "\n\n".join(map(str, self.problems))

    def plain(self) -> dict[str, object]:
        return {**self.problems[0].plain(), "problems": [problem.plain() for problem in self.problems]}


def _lines(file: str) -> list[str]:
    try:
        with tokenize.open(file) as stream:
            return stream.read().splitlines()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return []


def _modified(file: str) -> int:
    return os.stat(file).st_mtime_ns if os.path.exists(file) else 0


@cache
def _calls(file: str, modified: int) -> dict[tuple[int, int], ast.Call]:
    """Calls of a file by their end, which no two calls share."""
    try:
        tree = ast.parse("\n".join(_lines(file)))
    except (SyntaxError, ValueError):
        return {}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {(span[1], span[3]): call for call in calls for span in [_span(call)]}


def _span(node: ast.AST) -> tuple[int, int, int, int]:
    """(line, end_line, col, end_col) of an expression or keyword."""
    assert isinstance(node, ast.expr | ast.keyword)
    end_line, end_col = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return node.lineno, end_line, node.col_offset, end_col


def _decoded(text: str, num_bytes: int) -> str:
    return text.encode()[:num_bytes].decode(errors="ignore")


def _cells(text: str) -> int:
    """Columns of a terminal that `text` takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)
