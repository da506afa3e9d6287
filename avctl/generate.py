"""The Python face of a trained model: prompts, sound or pictures in, a clip with both out.

pipe = AVPipeline.from_pretrained("runs/export/tiny-0123456789ab")
pipe("a small metal blue triangle is struck quickly", seed=42).save("out.mp4")
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from avctl.codecs.convert import to_pixels
from avctl.compute.precision import autocast
from avctl.compute.seed import seeded
from avctl.diffusion import flow, solvers
from avctl.diffusion.guidance import guided_step
from avctl.diffusion.solvers import SOLVERS, Solver
from avctl.diffusion.tasks import TAKES, given_tokens
from avctl.inputs import Known, gather
from avctl.media.mux import write_mp4
from avctl.models import pretrained
from avctl.models.latents import Tracks
from avctl.models.pretrained import Pretrained
from avctl.schema.train import Dtype, Task


@dataclass(frozen=True)
class Output:
    """A generated clip."""

    frames: np.ndarray  # (T, H, W, 3) uint8
    audio: np.ndarray  # (samples, channels) float32 in [-1, 1]
    fps: int
    sample_rate: int

    def save(self, path: str | Path) -> None:
        """Write an mp4 with H.264 and AAC, of exactly these frames and samples."""
        write_mp4(Path(path), self.frames, self.audio, self.fps, self.sample_rate)


@dataclass(frozen=True)
class Settings:
    """How a batch is generated. ValueError for what there is not, and for what would have no effect."""

    task: Task = "text_to_both"
    steps: int = 50
    guidance: float = 4.0
    solver: Solver = "euler"
    shift: float = 1.0  # > 1 spends more steps near the noise
    keep_s: float = 1.0  # of the start of the clip, that `extend` is given
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (("task", self.task, TAKES), ("solver", self.solver, SOLVERS)):
            if value not in known:
                raise ValueError(f"{name}={value!r}: one of {', '.join(known)} is needed")
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: at least one is needed")
        if not 0 < self.shift < math.inf:
            raise ValueError(f"shift={self.shift}: more than 0 is needed")
        if not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance={self.guidance}: 0 or more is needed")
        if self.task != "extend" and self.keep_s != type(self).keep_s:
            raise ValueError(f"keep_s={self.keep_s}: only extend keeps seconds of a clip, not {self.task}")
        if self.negative_prompt and self.guidance == 1:
            raise ValueError("negative_prompt: at guidance=1 it is not read")


class AVPipeline:
    """A trained generator with its codecs, on one device."""

    def __init__(self, model: Pretrained, dtype: Dtype = "auto"):
        self.model, self.clip = model, model.config.clip
        self.dtype: Dtype = dtype
        self.device = torch.device("cpu")

    @classmethod
    def from_pretrained(cls, folder: str | Path, torch_dtype: torch.dtype | None = None) -> AVPipeline:
        """The model that `avctl export` wrote, computing in `torch_dtype` (None: what the device does best).

        InputError where the folder is no model or is damaged, ValueError for other types than bfloat16 and float32.
        """
        dtypes: dict[torch.dtype | None, Dtype] = {None: "auto", torch.bfloat16: "bfloat16", torch.float32: "float32"}
        if torch_dtype not in dtypes:
            raise ValueError(f"torch_dtype {torch_dtype}: bfloat16 and float32 are computed in")
        return cls(pretrained.load(Path(folder)), dtypes[torch_dtype])

    def to(self, device: str | torch.device) -> AVPipeline:
        """This pipeline, moved."""
        self.device = torch.device(device)
        for module in (self.model.generator, self.model.video_codec, self.model.audio_codec):
            module.to(self.device)
        return self

    def compile(self) -> AVPipeline:
        """This pipeline, its transformer compiled by `torch.compile` when it is first used, which takes a minute."""
        self.model.generator.transformer.compile()
        return self

    def __call__(
        self,
        prompt: str = "",
        *,
        task: Task = "text_to_both",
        negative_prompt: str = "",
        steps: int = 50,
        guidance: float = 4.0,
        solver: Solver = "euler",
        shift: float = 1.0,
        seed: int = 0,
        size: tuple[int, int] | None = None,
        seconds: float | None = None,
        fps: int | None = None,
        audio: np.ndarray | str | Path | None = None,
        video: np.ndarray | str | Path | None = None,
        image: np.ndarray | None = None,
        keep_s: float = 1.0,
    ) -> Output:
        """One clip; `steps`, `guidance`, `solver` and `shift` as in the recipe's `sample`.

        What a task is given comes as a file or an array: audio (samples, channels) float in [-1, 1], video (T, H, W, 3)
        uint8, image (H, W, 3) uint8. Of what is longer than needed the start is taken; `extend` needs `keep_s` seconds
        of both, the other tasks a whole clip.

        `size`, `seconds` and `fps` are the trained format; another one raises ValueError, as does an input that the
        task does not take or lacks, and a result that is not finite. InputError where a file cannot be read or is too
        short. A prompt that is longer than the model reads is warned of.
        """
        settings = Settings(task, steps, guidance, solver, shift, keep_s, negative_prompt)
        self._refuse_other_format(size=size and tuple(size), seconds=seconds, fps=fps)
        if self.model.generator.text.is_too_long(prompt):
            warnings.warn(f"of the prompt {self.model.generator.text.max_tokens} tokens are read", stacklevel=2)
        known = gather(task, self.clip, min(keep_s, self.clip.seconds), audio, video, image)
        return self.generate([prompt], [seeded(seed, "sample")], settings, known)[0]

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[str],
        generators: Sequence[torch.Generator],
        settings: Settings,
        known: Known | None = None,
        on_step: Callable[[int], None] = lambda step: None,
    ) -> list[Output]:
        """A batch of clips, each from noise of its own generator. ValueError where `extend` keeps all or nothing."""
        model, patches = self.model.generator, self.model.generator.patches
        known = known or Known()
        keep = settings.keep_s / self.clip.seconds
        masks = given_tokens(settings.task, patches.main, keep)
        if settings.task == "extend" and not all(mask.any() and not mask.all() for mask in masks):
            raise ValueError(f"keep_s={settings.keep_s}: a part of the {self.clip.seconds} s of a clip is needed")
        given = masks.map(lambda mask: mask.repeat(len(prompts)).to(self.device))
        noise = self._noise(generators)
        clean = model.scale(patches.split(self._encode(known, noise)))
        start = flow.start(clean, patches.split(noise), given)
        words, negative = (
            model.tokenize(texts).to(self.device) for texts in (prompts, [settings.negative_prompt] * len(prompts))
        )
        grids = [patches.main] * len(prompts)
        advance = guided_step(model, self.model.config.flow, grids, given, words, negative, settings.guidance)
        with autocast(self.dtype, self.device):
            made = solvers.integrate(
                settings.solver, advance, start, solvers.times(settings.steps, settings.shift), on_step
            )
        latents = patches.join(model.scale.inverse(made), len(prompts), patches.main)
        return self._decode(latents, known, settings.task)

    def _noise(self, generators: Sequence[torch.Generator]) -> Tracks:
        layout = self.model.generator.layout
        video = (layout.video_frames, layout.video_channels, *layout.video_size)
        audio = (layout.audio_frames, layout.audio_channels)
        pairs = [(torch.randn(video, generator=g), torch.randn(audio, generator=g)) for g in generators]
        return Tracks(*(torch.stack(part).to(self.device) for part in zip(*pairs, strict=True)))

    def _encode(self, known: Known, like: Tracks) -> Tracks:
        """Codec latents of what is known, zeros elsewhere."""
        video, audio = like.map(torch.zeros_like)
        if known.frames is not None:
            video = self.model.video_codec.encode(known.frames.to(self.device))
        if known.samples is not None:
            audio = self.model.audio_codec.encode(known.samples.to(self.device))
        return Tracks(video, audio)

    def _decode(self, latents: Tracks, known: Known, task: Task) -> list[Output]:
        """Frames and samples; a modality that the task was given whole is passed on as it came."""
        frames = known.frames if task == "video_to_audio" else self.model.video_codec.decode(latents.video)
        samples = (
            known.samples
            if task == "audio_to_video"
            else self.model.audio_codec.decode(latents.audio, self.clip.samples)
        )
        assert frames is not None and samples is not None
        if not (frames.isfinite().all() and samples.isfinite().all()):
            raise ValueError("what was generated is not finite: too much guidance, or a damaged input")
        pixels = to_pixels(frames).cpu().numpy()
        sound = samples.float().clamp(-1, 1).transpose(1, 2).cpu().numpy()
        return [Output(f, a, self.clip.fps, self.clip.sample_rate) for f, a in zip(pixels, sound, strict=True)]

    def _refuse_other_format(self, **wanted: object) -> None:
        for name, value in wanted.items():
            trained = getattr(self.clip, name)
            if value is not None and value != trained:
                raise ValueError(f"{name}={value!r}: this model makes clips of {name}={trained!r}")
