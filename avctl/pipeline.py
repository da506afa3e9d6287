"""The whole data flow: which sections and which artifacts each stage reads."""

from __future__ import annotations

from dataclasses import dataclass

from avctl.recipe.fingerprint import fingerprint
from avctl.schema import Recipe, Trained


@dataclass(frozen=True)
class Stage:
    name: str
    reads: tuple[str, ...]  # recipe sections; together with `needs` they are the fingerprint
    needs: tuple[str, ...]  # inputs: stages of this recipe, and `codec`, which another recipe trains
    version: int = 1  # raise it when the same sections should give other bytes


PIPELINE = (
    Stage("crawl", reads=("crawl",), needs=()),
    Stage("preprocess", reads=("clip", "preprocess"), needs=("crawl", "codec")),
    Stage("train", reads=("clip", "model", "train", "seed"), needs=("preprocess", "codec")),
    Stage("sample", reads=("sample", "seed"), needs=("train", "preprocess", "codec")),
    Stage("eval", reads=("eval",), needs=("sample", "preprocess", "codec")),
    Stage("export", reads=("export",), needs=("train", "codec")),
)


def codec_recipe(recipe: Recipe) -> Recipe | None:
    """The recipe that trains this recipe's video codec, if one does."""
    codec = recipe.preprocess.video_codec if recipe.preprocess else None
    return codec.recipe if isinstance(codec, Trained) else None


def fingerprints(recipe: Recipe) -> dict[str, str]:
    """Fingerprint of every stage that the recipe describes, and of its trained `codec`."""
    prints: dict[str, str] = {}
    if codec := codec_recipe(recipe):
        prints["codec"] = fingerprints(codec)["train"]
    for stage in PIPELINE:
        if getattr(recipe, stage.name) is not None:
            sections = {name: getattr(recipe, name) for name in stage.reads}
            inputs = {name: prints[name] for name in stage.needs if name in prints}
            prints[stage.name] = fingerprint(stage.name, stage.version, sections, inputs)
    return prints
