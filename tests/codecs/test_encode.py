"""What preprocess stores: float16 latents of the documented shapes, and a fingerprint of what made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from avctl.codecs.build import WEIGHTS
from avctl.codecs.encode import BATCH, Encoder
from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.schema import MDCT, Clip, FrameAutoencoder, Haar, LogMel, Preprocess, Recipe, TrainAutoencoder, Trained

CLIP = Clip(seconds=0.5, size=(16, 16), fps=8, sample_rate=8_000)
FIXED = Preprocess(video_codec=Haar(space=4), audio_codec=MDCT(hop=100))


def scenes(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (count, CLIP.frames, 16, 16, 3), np.uint8)
    return frames, generator.integers(-9_000, 9_000, (count, CLIP.samples, 2)).astype(np.int16)


def test_clips_come_back_from_their_stored_latents() -> None:
    encoder, (frames, audio) = Encoder(FIXED, CLIP, None), scenes(3)
    video_latents, audio_latents = encoder(frames, audio)
    assert video_latents.shape == (3, *encoder.video_shape) and audio_latents.shape == (3, *encoder.audio_shape)
    assert video_latents.dtype == audio_latents.dtype == np.float16
    pixels = encoder._video.decode(torch.from_numpy(video_latents).float()).permute(0, 1, 3, 4, 2)
    assert np.abs((pixels.numpy() + 1) * 127.5 - frames).max() < 0.5
    samples = encoder._audio.decode(torch.from_numpy(audio_latents).float(), CLIP.samples).transpose(1, 2)
    assert np.abs(samples.numpy() * 32_768 - audio).max() < 100  # 50 dB below full scale


def test_a_clip_has_the_same_latents_wherever_its_batch_begins() -> None:
    encoder, (frames, audio) = Encoder(FIXED, CLIP, None), scenes(2 * BATCH)
    whole = encoder(frames, audio)
    part = encoder(frames[BATCH:], audio[BATCH:])
    assert all(np.array_equal(a[BATCH:], b) for a, b in zip(whole, part, strict=True))


def test_no_clips_have_no_latents() -> None:
    encoder, (frames, audio) = Encoder(FIXED, CLIP, None), scenes(1)
    assert encoder(frames[:0], audio[:0])[0].shape == (0, *encoder.video_shape)


@pytest.mark.parametrize(
    "other",
    [
        Preprocess(video_codec=Haar(space=4), audio_codec=MDCT(hop=50)),
        Preprocess(video_codec=Haar(space=8), audio_codec=MDCT(hop=100)),
        Preprocess(video_codec=Haar(space=4), audio_codec=LogMel(hop=100, window=256, mels=8)),
    ],
)
def test_another_setting_is_another_fingerprint(other: Preprocess) -> None:
    assert Encoder(other, CLIP, None).fingerprint != Encoder(FIXED, CLIP, None).fingerprint
    assert Encoder(FIXED, CLIP, None).fingerprint == Encoder(FIXED, CLIP, None).fingerprint


def test_the_fingerprint_of_a_learned_codec_is_that_of_its_weights(tmp_path: Path) -> None:
    section = FrameAutoencoder(down=4, channels=5, width=8)
    recipe = Recipe(name="a", clip=CLIP, model=section, train=TrainAutoencoder(steps=1, batch=1))
    weights = FrameAutoencoderCodec(section).state_dict()

    def fingerprint(name: str) -> str:
        save_file(weights, tmp_path / WEIGHTS)
        codec = Trained(recipe=recipe.model_copy(update={"name": name}))
        return Encoder(Preprocess(video_codec=codec, audio_codec=MDCT()), CLIP, tmp_path).fingerprint

    first = fingerprint("a")
    assert fingerprint("b") == first
    weights["project.bias"][0] += 1e-3
    assert fingerprint("a") != first
