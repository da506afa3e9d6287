"""The whole experiment in one value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import Field, model_validator

from avctl.recipe.spec import Spec
from avctl.schema.clip import Clip
from avctl.schema.codec import Haar, Trained
from avctl.schema.crawl import Crawl
from avctl.schema.eval import Eval
from avctl.schema.export import Export
from avctl.schema.latents import latents, token_grid, video_cells
from avctl.schema.model import FrameAutoencoder, JointDiT, Model
from avctl.schema.preprocess import Preprocess
from avctl.schema.runtime import Runtime
from avctl.schema.sample import Sample
from avctl.schema.train import Train, TrainAutoencoder, TrainGenerator

R = TypeVar("R")


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
    def _trains_its_model(self) -> Recipe:
        pairs = {"joint_dit": "generator", "frame_autoencoder": "autoencoder"}
        if self.train and (self.model is None or pairs[self.model.kind] != self.train.kind):
            kind = self.model.kind if self.model else "nothing"
            raise ValueError(
                f"`train`: TrainGenerator trains a JointDiT, TrainAutoencoder a FrameAutoencoder, not {kind}"
            )
        if isinstance(self.train, TrainAutoencoder):
            for name in ("sample", "eval", "export"):
                if getattr(self, name):
                    raise ValueError(f"`{name}`: this recipe trains a codec, and {name} needs a generator")
        return self

    @model_validator(mode="after")
    def _windows_are_computed_in_one_way(self) -> Recipe:
        if self.runtime.attention != "auto" and isinstance(self.model, JointDiT) and self.model.window_s is not None:
            raise ValueError(
                f"`runtime.attention`: with `model.window_s` attention is in windows, not by {self.runtime.attention}"
            )
        return self

    @model_validator(mode="after")
    def _divides(self) -> Recipe:
        """A model cannot be built where pixels, latents and patches do not divide; better now than after the crawl."""
        if not self.preprocess:
            return self
        tokens = [self._tokens(self.preprocess, clip) for clip in self.clip.buckets]
        if tokens[0] is not None:
            self._extends(tokens[0])
        return self

    def _tokens(self, preprocess: Preprocess, clip: Clip) -> int | None:
        """Tokens in time of a clip of this bucket, of picture or sound, whichever has fewer; None without a generator.

        ValueError where something does not divide.
        """
        video, audio = preprocess.video_codec, preprocess.audio_codec
        if video is None or audio is None:
            if isinstance(self.train, TrainGenerator):
                raise ValueError("`preprocess`: a generator learns latents; give `video_codec` and `audio_codec`")
            if isinstance(self.model, FrameAutoencoder):
                _named("clip", video_cells, clip.frames, clip.size, self.model.time, self.model.down)
            return None
        section = video.recipe.model if isinstance(video, Trained) else video
        assert isinstance(section, Haar | FrameAutoencoder)
        shape = _named("clip", latents, clip, section, audio)
        if not isinstance(self.model, JointDiT):
            return None
        (frames, *_), sounds = _named("model", token_grid, self.model, *shape)
        return min(frames, sounds)

    def _extends(self, tokens: int) -> None:
        """`tokens` in time of what has fewer of them, picture or sound: some are kept, some made."""
        for request in self.sample.requests if self.sample else ():
            share = request.keep_s / self.clip.seconds
            if request.task == "extend" and not 1 <= share * tokens + 1e-6 < tokens:
                least = self.clip.seconds / tokens
                raise ValueError(
                    f"`sample`: extend keeps {request.keep_s:g} s of {self.clip.seconds:g} s; "
                    f"from {least:.3g} s on, and less than all, is possible"
                )


def _named(section: str, function: Callable[..., R], *args: object) -> R:
    """What the function returns; its ValueError as one about `section`."""
    try:
        return function(*args)
    except ValueError as error:
        raise ValueError(f"`{section}`: {str(error).replace('`', '')}") from error


Trained.model_rebuild(_types_namespace={"Recipe": Recipe})
Preprocess.model_rebuild(force=True)
Recipe.model_rebuild(force=True)
