"""The shared clock of sound and picture."""

from __future__ import annotations

from pydantic import Field, model_validator

from avctl.recipe.spec import Spec

AAC_RATES = (7_350, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)  # Hz


def require_aac_rate(sample_rate: int) -> None:
    """ValueError unless the sound of an mp4 can have this sample rate."""
    if sample_rate not in AAC_RATES:
        raise ValueError(
            f"`sample_rate`: AAC, the sound of an mp4, has no {sample_rate} Hz; it has {', '.join(map(str, AAC_RATES))}"
        )


class Clip(Spec):
    """What one training clip is: every stage reads it, and no stage restates it."""

    seconds: float = Field(gt=0)
    size: tuple[int, int]  # height, width in pixels, both even (4:2:0 video)
    fps: int = Field(default=24, gt=0)
    sample_rate: int = Field(default=48_000, gt=0)  # Hz
    channels: int = Field(default=2, ge=1, le=2)  # of sound

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)

    @property
    def samples(self) -> int:
        """Audio samples per channel."""
        return round(self.seconds * self.sample_rate)

    @model_validator(mode="after")
    def _whole_numbers(self) -> Clip:
        if abs(self.seconds * self.fps - self.frames) > 1e-6:
            raise ValueError(f"`seconds`: {self.seconds} s at {self.fps} fps is not a whole number of frames")
        if self.sample_rate % self.fps:
            raise ValueError(
                f"`sample_rate`: {self.sample_rate} Hz does not divide into {self.fps} frames a second; "
                "48000 works for 24, 25 and 30 fps, 16000 for 8, 16, 20 and 25"
            )
        require_aac_rate(self.sample_rate)
        if any(side % 2 or side < 16 for side in self.size):
            raise ValueError(f"`size`: {self.size} must be even and at least 16 pixels each way")
        return self
