"""What turns frames and samples into latents and back: fixed, or trained by a recipe of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from avctl.recipe.spec import Spec

if TYPE_CHECKING:
    from avctl.schema.recipe import Recipe


class Haar(Spec):
    """Space-time Haar wavelet: orthonormal, exactly invertible. C = 3 * space^2 * time."""

    kind: Literal["haar"] = "haar"
    space: Literal[1, 2, 4, 8, 16] = 8
    time: Literal[1, 2, 4, 8] = 1


class Trained(Spec):
    """A codec that another recipe trains, on its own crawl or, if it has none, on the crawl of the recipe that uses it.
    `avctl run` builds that recipe's artifact first."""

    kind: Literal["trained"] = "trained"
    recipe: Recipe


class MDCT(Spec):
    """Modified discrete cosine transform with companding: exactly invertible, critically sampled."""

    kind: Literal["mdct"] = "mdct"
    hop: int = 320  # samples a latent frame


class LogMel(Spec):
    """Log-mel magnitudes of mid and side; waveforms come back by Griffin-Lim on the mid phase."""

    kind: Literal["log_mel"] = "log_mel"
    hop: int = 320  # samples a latent frame
    window: int = 1_024
    mels: int = 48
    floor: float = 0.01  # magnitude below which differences are not told apart


VideoCodec = Annotated[Haar | Trained, Field(discriminator="kind")]
AudioCodec = Annotated[MDCT | LogMel, Field(discriminator="kind")]
