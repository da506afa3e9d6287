"""How a model is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from avctl.recipe.spec import Spec

Dtype = Literal["auto", "float32", "bfloat16"]  # auto: bfloat16 where the device computes in it
Task = Literal["text_to_both", "audio_to_video", "video_to_audio", "image_to_video", "extend"]


Beta = Annotated[float, Field(ge=0, lt=1)]


class Optim(Spec):
    """AdamW; with `muon_lr`, matrices inside blocks are trained by Muon instead."""

    lr: float = Field(default=1e-4, gt=0)
    muon_lr: float | None = Field(default=None, gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    decay_from: float = Field(default=0.5, ge=0, le=1)  # share of the steps after which lr falls linearly
    final_lr: float = Field(default=0.03, ge=0, le=1)  # share of lr at the last step
    clip_norm: float = Field(default=1.0, gt=0)


class Flow(Spec):
    """x_t = t x1 + (1 - t) x0; t = sigmoid(normal(mean, std))."""

    predict: Literal["velocity", "clean"] = "velocity"  # what the network outputs; the loss is the same
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0)
    audio_weight: float = Field(default=1.0, gt=0)
    max_weight: float = Field(default=25.0, gt=0)  # cap on 1/(1-t)^2 when the network predicts the clean clip


class TaskMix(Spec):
    """Relative frequency of each task in training."""

    text_to_both: float = Field(default=1.0, ge=0)
    audio_to_video: float = Field(default=0.0, ge=0)
    video_to_audio: float = Field(default=0.0, ge=0)
    image_to_video: float = Field(default=0.0, ge=0)
    extend: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _some(self) -> TaskMix:
        if not sum(getattr(self, name) for name in type(self).model_fields):
            raise ValueError("`text_to_both`: at least one task must have a weight")
        return self


class TrainGenerator(Spec):
    kind: Literal["generator"] = "generator"
    steps: int = Field(gt=0)
    batch: int = Field(
        gt=0
    )  # clips of the recipe's own format a step; of other formats, as many as have no more tokens
    tasks: TaskMix = TaskMix()
    flow: Flow = Flow()
    optim: Optim = Optim()
    dtype: Dtype = "auto"
    ema: float = Field(default=0.999, ge=0, lt=1)
    drop_caption: float = Field(default=0.1, ge=0, le=1)  # of text_to_both clips
    drop_caption_given: float = Field(default=0.6, ge=0, le=1)  # of clips whose sound or picture is given
    save_every: int = Field(default=500, gt=0)  # steps
    sample_every: int | None = Field(default=None, gt=0)  # steps
    max_skipped: int = Field(default=20, ge=0)  # consecutive steps dropped for a non-finite loss before giving up


class TrainAutoencoder(Spec):
    kind: Literal["autoencoder"] = "autoencoder"
    steps: int = Field(gt=0)
    batch: int = Field(gt=0)  # frames a step
    optim: Optim = Optim(lr=2e-3, betas=(0.9, 0.98), warmup_steps=20, decay_from=0.3)
    dtype: Dtype = "auto"
    latent_noise: float = Field(default=0.1, ge=0)  # std of noise on latents while training
    l1: float = Field(default=0.2, ge=0)  # weight beside the squared error
    save_every: int = Field(default=500, gt=0)
    max_skipped: int = Field(default=20, ge=0)

    @model_validator(mode="after")
    def _adam_only(self) -> TrainAutoencoder:
        if self.optim.muon_lr is not None:
            raise ValueError("`optim`: Muon trains matrices of transformer blocks; leave out `muon_lr`")
        return self


Train = Annotated[TrainGenerator | TrainAutoencoder, Field(discriminator="kind")]
