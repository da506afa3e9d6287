"""A store, and the step of a recipe that writes into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.artifact import Store, Workspace
from avctl.artifact.workspace import Inputs
from avctl.pipeline import Step, steps
from avctl.recipe import load
from avctl.schema import Recipe


@pytest.fixture
def store(here: Path) -> Store:
    return Store(here / "runs")


@pytest.fixture
def step(recipe_file: Path) -> Step:
    """The crawl of the small recipe."""
    return steps(load(recipe_file, Recipe))[0]


@pytest.fixture
def make(store: Store, step: Step) -> Callable[..., Path]:
    """A finished artifact with the given files, of `step` unless another is named."""

    def make(of: Step = step, inputs: Inputs | None = None, **files: str) -> Path:
        workspace = Workspace(store, of, inputs or {})
        try:
            workspace.open()
            for name, text in files.items():
                (workspace.path / name).write_text(text)
            return workspace.finish()
        finally:
            workspace.release()

    return make
