"""The Python face of a trained model: prompts, sound or pictures in, a clip with both out.

pipe = AVPipeline.from_pretrained("runs/export/tiny-0123456789ab")
pipe("a small metal blue triangle is hit with a mallet", seed=42).save("out.mp4")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from avctl.data.seed import seeded
from avctl.diffusion import solvers
from avctl.diffusion.guidance import guided_velocity
from avctl.diffusion.tasks import given_frames
from avctl.media.load import load_frames, load_sound
from avctl.media.mux import write_mp4
from avctl.models import pretrained
from avctl.models.latents import Latents
from avctl.models.pretrained import Pretrained
from avctl.schema.train import Dtype, Task
from avctl.training.precision import autocast

Solver = Literal["euler", "heun"]


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
    """How a batch is generated."""

    task: Task = "text_to_both"
    steps: int = 50
    guidance: float = 4.0
    solver: Solver = "euler"
    shift: float = 1.0
    keep_s: float = 1.0  # of the start of the clip, that `extend` is given
    negative_prompt: str = ""


@dataclass(frozen=True)
class Known:
    """What a task is given, for a batch: frames (B, T, 3, H, W) and samples (B, channels, samples) in [-1, 1]."""

    frames: Tensor | None = None
    samples: Tensor | None = None


class AVPipeline:
    """A trained generator with its codecs, on one device."""

    def __init__(self, model: Pretrained, dtype: Dtype = "auto"):
        self.model, self.clip, self.dtype = model, model.config.clip, dtype
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

    def __call__(
        self,
        prompt: str = "",
        *,
        task: Task = "text_to_both",
        negative_prompt: str = "",
        steps: int = 50,
        guidance: float = 4.0,
        solver: Solver = "euler",
        seed: int = 0,
        size: tuple[int, int] | None = None,
        seconds: float | None = None,
        fps: int | None = None,
        audio: np.ndarray | str | Path | None = None,
        video: np.ndarray | str | Path | None = None,
        image: np.ndarray | None = None,
    ) -> Output:
        """One clip. What a task is given comes as a file or an array: audio (samples, channels) float in [-1, 1],
        video (T, H, W, 3) uint8, image (H, W, 3) uint8; `extend` takes both, and keeps their length.

        `size`, `seconds` and `fps` are the trained format; another one raises ValueError, as does an input that the
        task does not take or lacks.
        """
        self._refuse_other_format(size=size, seconds=seconds, fps=fps)
        known, keep_s = self._known(task, audio, video, image)
        settings = Settings(task, steps, guidance, solver, keep_s=keep_s, negative_prompt=negative_prompt)
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
        """A batch of clips, each from noise of its own generator."""
        model, layout = self.model.generator, self.model.generator.layout
        known = known or Known()
        masks = given_frames(
            settings.task, layout, model.transformer.patches.video_patch[0], settings.keep_s / self.clip.seconds
        )
        given = Latents(*(mask.expand(len(prompts), -1).to(self.device) for mask in masks))
        noise = self._noise(generators)
        clean = model.scale(self._encode(known, noise))
        start = clean.map(lambda c, n, g: torch.where(g.view(*g.shape, *[1] * (c.ndim - 2)) > 0, c, n), noise, given)
        tokens, negative = (
            model.tokenize(texts).to(self.device) for texts in (prompts, [settings.negative_prompt] * len(prompts))
        )
        velocity = guided_velocity(model, self.model.config.flow, given, tokens, negative, settings.guidance)
        with autocast(self.dtype, self.device):
            made = solvers.integrate(
                settings.solver, velocity, start, solvers.times(settings.steps, settings.shift), on_step
            )
        return self._decode(model.scale.inverse(made), known, settings.task)

    def _noise(self, generators: Sequence[torch.Generator]) -> Latents:
        layout = self.model.generator.layout
        video = (layout.video_frames, layout.video_channels, *layout.video_size)
        audio = (layout.audio_frames, layout.audio_channels)
        pairs = [(torch.randn(video, generator=g), torch.randn(audio, generator=g)) for g in generators]
        return Latents(*(torch.stack(part).to(self.device) for part in zip(*pairs, strict=True)))

    def _encode(self, known: Known, like: Latents) -> Latents:
        """Codec latents of what is known, zeros elsewhere."""
        video, audio = like.map(torch.zeros_like)
        if known.frames is not None:
            video = self.model.video_codec.encode(known.frames.to(self.device))
            video = torch.cat([video, torch.zeros_like(like.video[:, video.shape[1] :])], dim=1)
        if known.samples is not None:
            audio = self.model.audio_codec.encode(known.samples.to(self.device))
        return Latents(video, audio)

    def _decode(self, latents: Latents, known: Known, task: Task) -> list[Output]:
        """Frames and samples; a modality that the task was given whole is passed on as it came."""
        frames = known.frames if task == "video_to_audio" else self.model.video_codec.decode(latents.video)
        samples = (
            known.samples
            if task == "audio_to_video"
            else self.model.audio_codec.decode(latents.audio, self.clip.samples)
        )
        assert frames is not None and samples is not None
        pixels = ((frames.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()
        sound = samples.float().clamp(-1, 1).transpose(1, 2).cpu().numpy()
        return [Output(f, a, self.clip.fps, self.clip.sample_rate) for f, a in zip(pixels, sound, strict=True)]

    def _refuse_other_format(self, **wanted: object) -> None:
        for name, value in wanted.items():
            trained = getattr(self.clip, name)
            if value is not None and value != trained:
                raise ValueError(f"{name}={value!r}: this model makes clips of {name}={trained!r}")

    def _known(
        self,
        task: Task,
        audio: np.ndarray | str | Path | None,
        video: np.ndarray | str | Path | None,
        image: np.ndarray | None,
    ) -> tuple[Known, float]:
        """What the task is given as a batch of one, and the seconds of it that are kept."""
        takes = {
            "audio_to_video": {"audio"},
            "video_to_audio": {"video"},
            "image_to_video": {"image"},
            "extend": {"audio", "video"},
        }
        has = {name for name, value in (("audio", audio), ("video", video), ("image", image)) if value is not None}
        if has != takes.get(task, set()):
            needs = " and ".join(sorted(takes.get(task, set()))) or "no sound or picture"
            raise ValueError(f"{task} takes {needs}, and was given {' and '.join(sorted(has)) or 'nothing'}")
        frames, samples = self._frames(video, image), self._samples(audio)
        return Known(frames, samples), self.clip.seconds / 2

    def _frames(self, video: np.ndarray | str | Path | None, image: np.ndarray | None) -> Tensor | None:
        if isinstance(video, str | Path):
            video = load_frames(Path(video), self.clip, self.clip.frames)
        if image is not None:
            video = np.repeat(image[None], self.clip.frames, axis=0)
        if video is None:
            return None
        if video.shape != (self.clip.frames, *self.clip.size, 3):
            raise ValueError(f"video is {(self.clip.frames, *self.clip.size, 3)} for this model, not {video.shape}")
        return torch.from_numpy(np.ascontiguousarray(video)).permute(0, 3, 1, 2).float()[None] / 127.5 - 1

    def _samples(self, audio: np.ndarray | str | Path | None) -> Tensor | None:
        if isinstance(audio, str | Path):
            audio = load_sound(Path(audio), self.clip, self.clip.samples)
        if audio is None:
            return None
        if audio.shape != (self.clip.samples, self.clip.channels):
            raise ValueError(f"audio is {(self.clip.samples, self.clip.channels)} for this model, not {audio.shape}")
        return torch.from_numpy(np.ascontiguousarray(audio)).float().T[None]
