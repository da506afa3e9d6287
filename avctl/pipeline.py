"""The whole data flow: which sections and which artifacts each stage reads.

Fingerprints, the order of work, resuming and `avctl plan` all follow from the six rows of `PIPELINE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from avctl.recipe.content import content_hash
from avctl.recipe.fingerprint import fingerprint
from avctl.recipe.spec import Spec
from avctl.schema import Recipe, Trained


@dataclass(frozen=True)
class Stage:
    name: str
    reads: tuple[str, ...]  # recipe sections; together with `needs` they are the fingerprint
    needs: tuple[str, ...]  # inputs: stages of this recipe, and `codec`, which another recipe trains
    version: int = 1  # raise it when the same sections should give other bytes


PIPELINE = (
    Stage("crawl", reads=("crawl",), needs=()),
    Stage("preprocess", reads=("clip", "preprocess"), needs=("crawl", "codec"), version=2),
    Stage("train", reads=("clip", "model", "train", "seed"), needs=("preprocess", "codec"), version=3),
    Stage("sample", reads=("sample", "seed"), needs=("train", "preprocess", "codec")),
    Stage("eval", reads=("eval",), needs=("sample", "preprocess", "codec")),
    Stage("export", reads=("export",), needs=("train", "codec")),
)
STAGES = tuple(stage.name for stage in PIPELINE)
_CODEC_STAGES = ("crawl", "preprocess", "train")
Content = Callable[[Path], str]


@dataclass(frozen=True)
class Step:
    """One artifact to be made: a stage of a recipe, with the fingerprints of what it reads."""

    stage: Stage
    recipe: Recipe
    fingerprint: str
    inputs: Mapping[str, str] = field(default_factory=dict)  # name of the input -> fingerprint of its artifact
    is_codec: bool = False  # it belongs to the recipe that trains the codec

    @property
    def folder(self) -> str:
        return f"{self.recipe.name}-{self.fingerprint}"


def codec_recipe(recipe: Recipe) -> Recipe | None:
    """The recipe that trains this recipe's video codec, if one does. Without a crawl of its own it shares this one."""
    codec = recipe.preprocess.video_codec if recipe.preprocess else None
    if not isinstance(codec, Trained):
        return None
    return codec.recipe if codec.recipe.crawl else codec.recipe.model_copy(update={"crawl": recipe.crawl})


def steps(recipe: Recipe, content: Content = content_hash, given: Mapping[str, str] | None = None) -> list[Step]:
    """Every artifact that the recipe describes, in the order of work; the codec's own come first.

    `content` hashes what stands outside (see `recipe.content`). `given` puts an artifact's fingerprint in the place
    of a stage (or of `codec`): that stage and all before it are not made, and all that depends on it is renamed.
    """
    prints = dict(given or {})
    skipped = {name for role in prints for name in ancestors(role)}
    found: list[Step] = []
    codec = codec_recipe(recipe)
    if codec and "codec" not in skipped:
        ahead = [step for step in steps(codec, content) if step.is_codec or step.stage.name in _CODEC_STAGES]
        found += [replace(step, recipe=_with_runtime(step.recipe, recipe), is_codec=True) for step in ahead]
        prints["codec"] = found[-1].fingerprint
    for stage in PIPELINE:
        if getattr(recipe, stage.name) is not None and stage.name not in skipped:
            inputs = {name: prints[name] for name in stage.needs if name in prints}
            sections = {name: getattr(recipe, name) for name in stage.reads}
            stand_in = _trained_by(prints.get("codec"))
            prints[stage.name] = fingerprint(stage.name, stage.version, sections, inputs, content, stand_in)
            found.append(Step(stage, recipe, prints[stage.name], inputs))
    return list({(step.stage.name, step.fingerprint): step for step in found}.values())  # a codec may share the crawl


def fingerprints(recipe: Recipe, content: Content = content_hash) -> dict[str, str]:
    """Fingerprint of every stage that the recipe describes, and of its trained `codec`."""
    own = [step for step in steps(recipe, content) if not step.is_codec]
    codecs = {name: print_ for step in own for name, print_ in step.inputs.items() if name == "codec"}
    return {**codecs, **{step.stage.name: step.fingerprint for step in own}}


def ancestors(role: str) -> set[str]:
    """A stage (or `codec`) and all that it is made from."""
    needs = {stage.name: stage.needs for stage in PIPELINE}.get(role, ())
    return {role}.union(*map(ancestors, needs))


def stage_of(role: str) -> str:
    """The stage that makes an input: a codec is a `train` artifact of another recipe."""
    return "train" if role == "codec" else role


def _trained_by(codec: str | None) -> Callable[[Spec], Any]:
    """In a fingerprint, a trained codec is the artifact that it is, not the text of its recipe."""
    return lambda spec: {"kind": "trained", "codec": codec} if isinstance(spec, Trained) else None


def _with_runtime(codec: Recipe, recipe: Recipe) -> Recipe:
    """How to run is said once, by the outer recipe."""
    return codec.model_copy(update={"runtime": recipe.runtime})
