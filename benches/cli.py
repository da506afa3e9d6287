"""How long the command line takes to answer, against what it cannot be faster than: Python with click."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benches.frame import Row, timed

REPEATS = 15
COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "python -c 'import click'": ("-c", "import click"),
    "avctl --help": ("-m", "avctl", "--help"),
    "avctl plan recipes/tiny.py": ("-m", "avctl", "plan", "recipes/tiny.py"),
}


def rows() -> Iterator[Row]:
    for name, words in COMMANDS.items():
        yield from timed("cli", name, [sys.executable, *words], repeats=REPEATS)
