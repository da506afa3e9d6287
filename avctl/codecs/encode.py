"""Clips as they are stored to latents as they are stored, and the fingerprint of what made them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from avctl.codecs.build import build_audio_codec, build_video_codec
from avctl.codecs.convert import from_pixels, from_samples
from avctl.compute.threads import one_thread
from avctl.schema import Clip, Preprocess, Trained

BATCH = 16  # clips at once; fixed, because another batch size may round differently


class Encoder:
    """Both codecs of a recipe, on one device. Latents are float16.

    On the CPU one thread encodes: the others are busy decoding, and the bytes do not depend on how many there are.
    """

    def __init__(self, preprocess: Preprocess, clip: Clip, codec: Path | None, device: torch.device | None = None):
        assert preprocess.video_codec is not None and preprocess.audio_codec is not None
        settings = (preprocess.video_codec, preprocess.audio_codec)
        self._settings = [spec.model_dump_json() for spec in settings if not isinstance(spec, Trained)]
        self._device = device = device or torch.device("cpu")
        self._video = build_video_codec(preprocess.video_codec, clip, codec).to(device)
        self._audio = build_audio_codec(preprocess.audio_codec, clip).to(device)
        sizes = (clip.size, *clip.other_sizes)
        # shapes of the latents of the longest clip: of video F C h w, by the size of its pictures; of audio F C
        self.video_shapes = {size: self._video.latent_shape(clip.frames, size) for size in sizes}
        self.audio_shape = (self._audio.latent_frames(clip.samples), self._audio.channels)

    @property
    def fingerprint(self) -> str:
        """Hash of what the codecs compute: their kind, settings and weights, not the recipe that names them."""
        digest = hashlib.sha256(f"{self._settings} {self._video} {self._audio}".encode())
        for codec in (self._video, self._audio):
            for name, tensor in [*codec.named_parameters(), *codec.named_buffers()]:
                digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def __call__(
        self, frames: Sequence[np.ndarray], audio: Sequence[np.ndarray]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """frames (T, H, W, 3) uint8 and audio (samples, channels) int16 of each clip -> its latents (F, C, h, w) and
        (F_a, C_a), F_a = 0 without samples. Clips of one shape are encoded together."""
        alike: dict[tuple[tuple[int, ...], ...], list[int]] = defaultdict(list)
        for i, shapes in enumerate(zip((f.shape for f in frames), (a.shape for a in audio), strict=True)):
            alike[shapes].append(i)
        latents: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        with torch.inference_mode(), one_thread():
            for clips in alike.values():
                for first in range(0, len(clips), BATCH):
                    batch = clips[first : first + BATCH]
                    video = self._video.encode(from_pixels(self._tensor(frames, batch)))
                    sound = self._sound(self._tensor(audio, batch))
                    made = zip(video.half().cpu().numpy(), sound.half().cpu().numpy(), strict=True)
                    latents.update(zip(batch, made, strict=True))
        return [latents[i] for i in range(len(frames))]

    def _sound(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples (n, samples, channels) to latents (n, F_a, C_a)."""
        if not samples.shape[1]:
            return samples.new_empty(len(samples), 0, self._audio.channels)
        return self._audio.encode(from_samples(samples))

    def _tensor(self, clips: Sequence[np.ndarray], batch: Sequence[int]) -> torch.Tensor:
        """(n, ...), those of the batch."""
        return torch.from_numpy(np.stack([clips[i] for i in batch])).to(self._device)
