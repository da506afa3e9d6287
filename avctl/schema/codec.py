"""What turns frames and samples into latents and back: fixed, or trained by a recipe of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from avctl.recipe.spec import Spec

if TYPE_CHECKING:
    from avctl.schema.recipe import Recipe


class Haar(Spec):
    """Space-time Haar wavelet: orthonormal, exactly invertible. C = 3 * time * down^2."""

    kind: Literal["haar"] = "haar"
    down: Literal[1, 2, 4, 8, 16] = 8  # pixels a latent cell, each way
    time: Literal[1, 2, 4, 8] = 1  # frames a latent frame


class Trained(Spec):
    """A codec that another recipe trains, on its own crawl or, if it has none, on the crawl of the recipe that uses it.
    `avctl run` builds that recipe's artifact first."""

    kind: Literal["trained"] = "trained"
    recipe: Recipe

    @model_validator(mode="after")
    def _trains_a_codec(self) -> Trained:
        if self.recipe.train is None or self.recipe.train.kind != "autoencoder":
            raise ValueError(f"`recipe`: {self.recipe.name} trains no codec; it needs a TrainAutoencoder")
        return self


class MDCT(Spec):
    """Modified discrete cosine transform with companding: exactly invertible, critically sampled."""

    kind: Literal["mdct"] = "mdct"
    hop: int = Field(default=320, gt=0)  # samples a latent frame

    @property
    def first_sample(self) -> float:
        """Where the hop of the first latent frame begins: its window is centred on the first sample."""
        return -self.hop / 2

    def latent_frames(self, samples: int) -> int:
        """Latent frames that cover `samples` samples: every sample stands in two windows."""
        return -(-samples // self.hop) + 1


class LogMel(Spec):
    """Log-mel magnitudes, of stereo as mean and balance; waveforms come back by Griffin-Lim."""

    kind: Literal["log_mel"] = "log_mel"
    hop: int = Field(default=320, gt=0)  # samples a latent frame
    window: int = Field(default=1_024, gt=0)
    mels: int = Field(default=48, gt=0)
    floor: float = Field(default=0.01, gt=0)  # magnitude below which differences are not told apart

    @property
    def first_sample(self) -> float:
        """Where the hop of the first latent frame begins."""
        return 0.0

    def latent_frames(self, samples: int) -> int:
        """Latent frames that cover `samples` samples."""
        return -(-samples // self.hop)

    @model_validator(mode="after")
    def _windows_overlap(self) -> LogMel:
        if 2 * self.hop > self.window:
            raise ValueError(f"`hop`: {self.hop} is more than half of window={self.window}; windows would not overlap")
        return self


VideoCodec = Annotated[Haar | Trained, Field(discriminator="kind")]
AudioCodec = Annotated[MDCT | LogMel, Field(discriminator="kind")]
