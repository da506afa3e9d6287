"""A recipe kept beside what it made: its sources for people, and its resolved values as data for programs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from avctl.recipe.errors import Problem, RecipeError
from avctl.recipe.spec import Spec

S = TypeVar("S", bound=Spec)


def freeze(recipe: Spec, sources: Sequence[Path], folder: Path) -> None:
    """Write `recipe.yaml` (resolved, data only) and `recipe/` (sources, never executed again) into `folder`."""
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    kept = folder / "recipe"
    kept.mkdir(exist_ok=True)
    if sources:
        root = Path(os.path.commonpath([source.parent for source in sources]))
        for source in sources:
            target = kept / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def to_yaml(recipe: Spec) -> str:
    """Every value of the recipe, defaults included, in the order of the schema."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def thaw(path: Path, kind: type[S]) -> S:
    """The recipe that a `recipe.yaml` holds, equal to the one that was frozen. Raises RecipeError."""
    try:
        data = yaml.safe_load(path.read_text())
        return kind.model_validate_json(json.dumps(data))
    except ValidationError as error:
        found = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors(include_url=False)]
        raise RecipeError.of([Problem(f"`{at}`: {what}" if at else what, str(path)) for at, what in found]) from error
    except (yaml.YAMLError, TypeError, ValueError, OSError) as error:
        raise RecipeError(f"not a frozen recipe: {error}".replace("\n", " "), str(path)) from error
