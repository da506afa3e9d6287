"""What a trained generator is asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from avctl.recipe.spec import PathField, Spec
from avctl.schema.train import Task


class Request(Spec):
    """One set of clips: a task over clips of a split of the data, with their captions or without."""

    task: Task = "text_to_both"
    split: Literal["train", "valid", "test", "unseen"] = "test"
    count: int = Field(default=16, gt=0)  # at most; the data may hold fewer
    use_caption: bool = True
    guidance: float = Field(default=1.0, ge=0)  # 1: without
    keep_s: float = Field(default=1.0, gt=0)  # extend: seconds given at the start

    @model_validator(mode="after")
    def _keeps_what_it_extends(self) -> Request:
        if self.task != "extend" and self.keep_s != type(self).model_fields["keep_s"].default:
            raise ValueError(f"`keep_s`: {self.task} keeps no seconds of a clip; only extend does")
        return self

    @property
    def name(self) -> str:
        """Folder of the set inside the sample artifact."""
        captions = "" if self.use_caption else "-uncaptioned"
        return f"{self.task}-{self.split}{captions}"


class Sample(Spec):
    requests: tuple[Request, ...] = (Request(),)
    prompts: PathField | None = None  # a text file, one prompt a line: also rendered, as the set `prompts`
    prompts_guidance: float = Field(default=3.0, ge=0)
    negative_prompt: str = ""
    solver: Literal["euler", "heun"] = "euler"
    steps: int = Field(default=50, gt=0)
    shift: float = Field(default=1.0, gt=0)  # > 1 spends more steps near the noise
    batch: int = Field(default=16, gt=0)  # clips at once

    @model_validator(mode="after")
    def _guides(self) -> Sample:
        guided = [request for request in self.requests if request.guidance != 1]
        if self.negative_prompt and not guided and not (self.prompts and self.prompts_guidance != 1):
            raise ValueError("`negative_prompt`: it is read where guidance is not 1, and nowhere is; set `guidance`")
        for request in guided:
            if not request.use_caption and not self.negative_prompt:
                raise ValueError(f"`requests`: {request.name} has no caption to guide by; leave out `guidance`")
        return self

    @model_validator(mode="after")
    def _names(self) -> Sample:
        names = [request.name for request in self.requests]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`requests`: two of them are the set {name}; task, split or caption must differ")
        return self
