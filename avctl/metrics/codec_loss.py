"""What the codecs lose: real clips encoded and decoded, measured against themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from avctl.codecs.codec import AudioCodec, VideoCodec
from avctl.codecs.convert import from_pixels, to_pixels
from avctl.metrics.measures import Measure, Values
from avctl.metrics.reconstruction import mel_distance_db, psnr, si_sdr_db, ssim
from avctl.metrics.statistics import mean
from avctl.metrics.watch import Footage

_BATCH = 8  # clips at once


@torch.inference_mode()
def there_and_back(clips: Sequence[Footage], video: VideoCodec, audio: AudioCodec) -> list[Footage]:
    """Every clip, encoded and decoded."""
    back: list[Footage] = []
    for first in range(0, len(clips), _BATCH):
        batch = clips[first : first + _BATCH]
        frames = from_pixels(torch.from_numpy(np.stack([clip.frames for clip in batch])))
        samples = torch.from_numpy(np.stack([clip.audio for clip in batch])).transpose(1, 2)  # B channels samples
        shown = to_pixels(video.decode(video.encode(frames))).numpy()
        sound = audio.decode(audio.encode(samples), samples.shape[2]).clamp(-1, 1)
        back += [Footage(f, a) for f, a in zip(shown, sound.transpose(1, 2).numpy(), strict=True)]
    return back


def codec_loss(real: Sequence[Footage], decoded: Sequence[Footage], rate: int, keeps_phase: bool) -> list[Measure]:
    """PSNR and SSIM of frames, mel distance of sound, and SI-SDR where the audio codec keeps the phase.

    The floors are the best that a still picture and silence can do.
    """
    still = [
        np.repeat(clip.frames.mean(0, keepdims=True).round().astype(np.uint8), len(clip.frames), 0) for clip in real
    ]

    def measure(name: str, unit: str, higher: bool, values: Values, floor: str, wrong: Values) -> Measure:
        return Measure(name, unit, higher, mean, values, {floor: wrong})

    def of(metric: Callable[[Footage, Footage], float]) -> list[np.ndarray]:
        values = [metric(b, a) for a, b in zip(real, decoded, strict=True)]
        return [np.array([value]) if np.isfinite(value) else np.empty(0) for value in values]

    def of_still(metric: Callable[[np.ndarray, np.ndarray], float]) -> list[np.ndarray]:
        return [np.array([metric(frames, clip.frames)]) for frames, clip in zip(still, real, strict=True)]

    silence = [np.array([mel_distance_db(0 * clip.audio, clip.audio, rate)]) for clip in real]
    mel = of(lambda b, a: mel_distance_db(b.audio, a.audio, rate))
    measures = [
        measure("PSNR", "dB", True, of(lambda b, a: psnr(b.frames, a.frames)), "mean frame", of_still(psnr)),
        measure("SSIM", "", True, of(lambda b, a: ssim(b.frames, a.frames)), "mean frame", of_still(ssim)),
        measure("mel distance", "dB", False, mel, "silence", silence),
    ]
    if keeps_phase:
        sdr = of(lambda b, a: si_sdr_db(b.audio, a.audio))
        measures.append(Measure("SI-SDR", "dB", True, mean, sdr))
    return measures
