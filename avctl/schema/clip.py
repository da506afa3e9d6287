"""The shared clock of sound and picture."""

from __future__ import annotations

from itertools import product
from math import log, prod

from pydantic import Field, model_validator

from avctl.recipe.spec import Spec, added

AAC_RATES = (7_350, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)  # Hz

_SAME_SHAPE = 0.02  # aspect ratios that differ by less than 2 % are of one shape: sides are rounded


def require_aac_rate(sample_rate: int) -> None:
    """ValueError unless the sound of an mp4 can have this sample rate."""
    if sample_rate not in AAC_RATES:
        raise ValueError(
            f"`sample_rate`: AAC, the sound of an mp4, has no {sample_rate} Hz; it has {', '.join(map(str, AAC_RATES))}"
        )


class Clip(Spec):
    """What one training clip is: every stage reads it, and no stage restates it.

    Clips may have other lengths and sizes besides; what is generated and measured has `seconds` and `size`.
    """

    seconds: float = Field(gt=0)  # the longest
    size: tuple[int, int]  # height, width in pixels, both even (4:2:0 video)
    fps: int = Field(default=24, gt=0)
    sample_rate: int = Field(default=48_000, gt=0)  # Hz
    channels: int = Field(default=2, ge=1, le=2)  # of sound
    other_seconds: tuple[float, ...] = added(())  # shorter lengths, for shots that do not hold `seconds`
    other_sizes: tuple[tuple[int, int], ...] = added(())  # a source goes to the size nearest its own aspect ratio

    @property
    def lengths_s(self) -> tuple[float, ...]:
        """Every length, the longest first."""
        return tuple(sorted((self.seconds, *self.other_seconds), reverse=True))

    @property
    def buckets(self) -> tuple[Clip, ...]:
        """Every size with every length, each as a clip without others; the main one is the first."""
        if not self.other_seconds and not self.other_sizes:
            return (self,)
        plain = {"other_seconds": (), "other_sizes": ()}
        pairs = product((self.size, *self.other_sizes), (self.seconds, *self.other_seconds))
        return tuple(self.model_copy(update={"size": size, "seconds": seconds, **plain}) for size, seconds in pairs)

    def bucket(self, picture: tuple[float, float], seconds: float) -> Clip:
        """The clip of this length that a picture of (height, width) becomes: of the sizes nearest to its shape, the
        largest that does not enlarge it, or else the smallest."""
        height, width = picture
        bent = {bucket: abs(log(bucket.size[1] / bucket.size[0] * height / width)) for bucket in self.buckets}
        alike = [bucket for bucket in bent if bent[bucket] < min(bent.values()) + _SAME_SHAPE]
        alike = sorted((each for each in alike if each.seconds == seconds), key=lambda each: prod(each.size))
        fitting = [each for each in alike if each.size[0] <= height and each.size[1] <= width]
        return [*alike[:1], *fitting][-1]

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)

    @property
    def samples(self) -> int:
        """Audio samples per channel."""
        return round(self.seconds * self.sample_rate)

    @model_validator(mode="after")
    def _whole_numbers(self) -> Clip:
        for name, seconds in (("seconds", self.seconds), *(("other_seconds", each) for each in self.other_seconds)):
            if abs(seconds * self.fps - round(seconds * self.fps)) > 1e-6:
                raise ValueError(f"`{name}`: {seconds} s at {self.fps} fps is not a whole number of frames")
        if self.sample_rate % self.fps:
            raise ValueError(
                f"`sample_rate`: {self.sample_rate} Hz does not divide into {self.fps} frames a second; "
                "48000 works for 24, 25 and 30 fps, 16000 for 8, 16, 20 and 25"
            )
        require_aac_rate(self.sample_rate)
        for name, size in (("size", self.size), *(("other_sizes", each) for each in self.other_sizes)):
            if any(side % 2 or side < 16 for side in size):
                raise ValueError(f"`{name}`: {size} must be even and at least 16 pixels each way")
        return self

    @model_validator(mode="after")
    def _others_differ(self) -> Clip:
        lengths, sizes = (self.seconds, *self.other_seconds), (self.size, *self.other_sizes)
        if any(not 0 < seconds < self.seconds for seconds in self.other_seconds):
            raise ValueError(f"`other_seconds`: lengths besides `seconds` are shorter than its {self.seconds} s")
        for name, values in (("other_seconds", lengths), ("other_sizes", sizes)):
            if len(set(values)) < len(values):
                raise ValueError(f"`{name}`: each stands once, and the main one is not among them")
        return self
