"""`--with ARTIFACT`: a finished artifact stands in for a stage of the recipe.

The sections that made it, and what it was made from, take the place of the recipe's own; everything that depends on
it gets another fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avctl.artifact import Manifest
from avctl.artifact.store import require_intact
from avctl.errors import UsageError
from avctl.pipeline import PIPELINE, ancestors, codec_recipe
from avctl.recipe.snapshot import thaw
from avctl.recipe.spec import mark, origins, replace, set_origins
from avctl.schema import Recipe, Trained


@dataclass(frozen=True)
class Given:
    """What `--with` changes: the recipe, fingerprints by role, and where those artifacts are."""

    recipe: Recipe
    prints: dict[str, str] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)  # by fingerprint
    stores: tuple[Path, ...] = ()  # where what they were made from may lie


def apply_given(recipe: Recipe, artifacts: Sequence[Path]) -> Given:
    """Raises InputError for what is no sound artifact, UsageError for one that the recipe has no use for."""
    given = Given(recipe)
    for path in artifacts:
        manifest = require_intact(path)
        made_by = mark(thaw(path / "recipe.yaml", Recipe), f"--with {path}")
        role = _role(manifest, made_by)
        if role in given.prints:
            raise UsageError(f"`--with {path}`: there is another {role} already")
        made_from = {name: each["fingerprint"] for name, each in manifest.inputs.items()}
        fingerprint = _fingerprint(path, manifest)
        given = Given(
            recipe=_adopt(given.recipe, made_by, role, path),
            prints={**made_from, **given.prints, role: fingerprint},
            paths={**given.paths, fingerprint: path},
            stores=(*given.stores, path.absolute().parents[1]),
        )
    return given


def _fingerprint(path: Path, manifest: Manifest) -> str:
    """Its own, unless it was moved aside or renamed: then its place may be taken, and its data names it."""
    return manifest.fingerprint if path.name.endswith(f"-{manifest.fingerprint}") else (manifest.digest or "")[:12]


def _role(manifest: Manifest, made_by: Recipe) -> str:
    is_codec = manifest.stage == "train" and made_by.train and made_by.train.kind == "autoencoder"
    return "codec" if is_codec else manifest.stage


def _adopt(recipe: Recipe, made_by: Recipe, role: str, path: Path) -> Recipe:
    if role == "codec":
        if not recipe.preprocess or codec_recipe(recipe) is None:
            raise UsageError(f"`--with {path}`: the recipe has no trained codec", "`video_codec=Trained(recipe=...)`")
        trained = Trained(recipe=made_by)
        return replace(recipe, preprocess=replace(recipe.preprocess, video_codec=trained))
    if not any(role in stage.needs and getattr(recipe, stage.name) is not None for stage in PIPELINE):
        raise UsageError(f"`--with {path}`: no stage of the recipe reads a {role} artifact")
    sections = {name for stage in PIPELINE if stage.name in ancestors(role) for name in stage.reads}
    adopted = replace(recipe, **{name: getattr(made_by, name) for name in sorted(sections)})
    set_origins(adopted, {**origins(adopted), **dict.fromkeys(sections, f"--with {path}")})
    return adopted
