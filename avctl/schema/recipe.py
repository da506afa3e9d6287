"""The whole experiment in one value."""

from __future__ import annotations

from pydantic import Field, model_validator

from avctl.recipe.spec import Spec
from avctl.schema.clip import Clip
from avctl.schema.codec import Trained
from avctl.schema.crawl import Crawl
from avctl.schema.eval import Eval
from avctl.schema.export import Export
from avctl.schema.model import Model
from avctl.schema.preprocess import Preprocess
from avctl.schema.runtime import Runtime
from avctl.schema.sample import Sample
from avctl.schema.train import Train


class Recipe(Spec):
    """A stage whose section is absent does not exist in this recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    seed: int = 0
    clip: Clip
    crawl: Crawl | None = None
    preprocess: Preprocess | None = None
    model: Model | None = None
    train: Train | None = None
    sample: Sample | None = None
    eval: Eval | None = None
    export: Export | None = None
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        pairs = {"joint_dit": "generator", "frame_autoencoder": "autoencoder"}
        if self.train and (self.model is None or pairs[self.model.kind] != self.train.kind):
            kind = self.model.kind if self.model else "nothing"
            raise ValueError(
                f"`train`: TrainGenerator trains a JointDiT, TrainAutoencoder a FrameAutoencoder, not {kind}"
            )
        for request in self.sample.requests if self.sample else ():
            if request.task == "extend" and request.keep_s >= self.clip.seconds:
                raise ValueError(f"`sample`: extend keeps {request.keep_s} s of {self.clip.seconds} s; lower `keep_s`")
        return self


Trained.model_rebuild(_types_namespace={"Recipe": Recipe})
Preprocess.model_rebuild(force=True)
Recipe.model_rebuild(force=True)
