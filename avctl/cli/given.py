"""`--with ARTIFACT`: a finished artifact stands in for a stage of the recipe.

The sections that made it, and what it was made from, take the place of the recipe's own; everything that depends on
it gets another fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avctl.artifact import Manifest
from avctl.artifact.store import require_intact
from avctl.errors import UsageError
from avctl.pipeline import PIPELINE, STAGES, codec_recipe
from avctl.recipe.snapshot import thaw
from avctl.recipe.spec import replace
from avctl.schema import Recipe, Trained


def apply_given(recipe: Recipe, artifacts: Sequence[Path]) -> tuple[Recipe, dict[str, str], list[Path]]:
    """The recipe with the artifacts' sections, fingerprints by name, and the stores that they lie in.

    Raises InputError for what is no sound artifact, UsageError for one that the recipe has no use for.
    """
    prints: dict[str, str] = {}
    roots: list[Path] = []
    for path in artifacts:
        manifest = require_intact(path)
        made_by = thaw(path / "recipe.yaml", Recipe)
        role = _role(manifest, made_by)
        if role in prints:
            raise UsageError(f"`--with {path}`: there is another {role} already")
        recipe = _adopt(recipe, made_by, role, path)
        prints[role] = manifest.fingerprint
        prints |= {name: each["fingerprint"] for name, each in manifest.inputs.items() if name not in prints}
        roots.append(path.absolute().parents[1])
    return recipe, prints, roots


def _role(manifest: Manifest, made_by: Recipe) -> str:
    is_codec = manifest.stage == "train" and made_by.train and made_by.train.kind == "autoencoder"
    return "codec" if is_codec else manifest.stage


def _adopt(recipe: Recipe, made_by: Recipe, role: str, path: Path) -> Recipe:
    if role == "codec":
        if not recipe.preprocess or codec_recipe(recipe) is None:
            raise UsageError(f"`--with {path}`: the recipe has no trained codec", "`video_codec=Trained(recipe=...)`")
        trained = Trained(recipe=made_by)
        return replace(recipe, preprocess=replace(recipe.preprocess, video_codec=trained))
    if getattr(recipe, role) is None:
        raise UsageError(f"`--with {path}`: the recipe has no section `{role}`")
    ahead = PIPELINE[: STAGES.index(role) + 1]
    sections = {name for stage in ahead if stage.name in _ancestors(role) for name in stage.reads}
    return replace(recipe, **{name: getattr(made_by, name) for name in sorted(sections)})


def _ancestors(role: str) -> set[str]:
    """The stage and all that it depends on."""
    needs = {stage.name: stage.needs for stage in PIPELINE}
    return {role}.union(*(_ancestors(name) for name in needs[role] if name in needs))
