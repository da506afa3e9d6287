"""Clips as they are stored to latents as they are stored, and the fingerprint of what made them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from avctl.codecs.build import build_audio_codec, build_video_codec
from avctl.codecs.convert import from_pixels, from_samples
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
        self.video_shape = self._video.latent_shape(clip.frames, clip.size)  # F C h w
        self.audio_shape = (self._audio.latent_frames(clip.samples), self._audio.channels)  # F C

    @property
    def fingerprint(self) -> str:
        """Hash of what the codecs compute: their kind, settings and weights, not the recipe that names them."""
        digest = hashlib.sha256(f"{self._settings} {self._video} {self._audio}".encode())
        for codec in (self._video, self._audio):
            for name, tensor in [*codec.named_parameters(), *codec.named_buffers()]:
                digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def __call__(self, frames: np.ndarray, audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """frames (n, T, H, W, 3) uint8, audio (n, samples, channels) int16 -> (n, F, C, h, w), (n, F_a, C_a)."""
        video_latents = np.empty((len(frames), *self.video_shape), np.float16)
        audio_latents = np.empty((len(audio), *self.audio_shape), np.float16)
        with torch.inference_mode(), _one_thread():
            for first in range(0, len(frames), BATCH):
                part = slice(first, first + BATCH)
                pixels = from_pixels(self._tensor(frames[part]))
                sound = from_samples(self._tensor(audio[part]))
                video_latents[part] = self._video.encode(pixels).half().cpu().numpy()
                audio_latents[part] = self._audio.encode(sound).half().cpu().numpy()
        return video_latents, audio_latents

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(values)).to(self._device)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
