"""Codec sections become frozen modules; one that needs training says so until it is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avctl.codecs import build_audio_codec, build_video_codec
from avctl.codecs.build import WEIGHTS
from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.job import InputError
from avctl.schema import MDCT, Clip, FrameAutoencoder, Haar, LogMel, Recipe, TrainAutoencoder, Trained

CLIP = Clip(seconds=1.0, size=(16, 32), fps=8, sample_rate=8_000, channels=1)
SECTION = FrameAutoencoder(down=4, channels=5, width=8)
CODEC = Recipe(name="codec", clip=CLIP, model=SECTION, train=TrainAutoencoder(steps=1, batch=1))


@pytest.mark.parametrize("section", [MDCT(hop=100), LogMel(hop=100, window=256, mels=8)])
def test_audio_codecs_follow_the_clip(section: MDCT | LogMel) -> None:
    codec = build_audio_codec(section, CLIP)
    latents = codec.encode(torch.zeros(1, 1, CLIP.samples))
    assert latents.shape == (1, codec.latent_frames(CLIP.samples), codec.channels)
    assert codec.decode(latents, CLIP.samples).shape == (1, 1, CLIP.samples)


def test_codecs_are_frozen_and_in_eval_mode(tmp_path: Path) -> None:
    save_file(FrameAutoencoderCodec(SECTION).state_dict(), tmp_path / WEIGHTS)
    codec = build_video_codec(Trained(recipe=CODEC), CLIP, tmp_path)
    assert not codec.training and not any(p.requires_grad for p in codec.parameters())


def test_a_trained_codec_has_the_weights_of_its_artifact(tmp_path: Path) -> None:
    trained = FrameAutoencoderCodec(SECTION)
    save_file(trained.state_dict(), tmp_path / WEIGHTS)
    codec = build_video_codec(Trained(recipe=CODEC), CLIP, tmp_path)
    frames = torch.rand(1, 2, 3, 16, 32)
    assert torch.equal(codec.encode(frames), trained.eval().encode(frames))


def test_a_codec_that_is_not_trained_yet_is_named(tmp_path: Path) -> None:
    for artifact in (None, tmp_path):
        with pytest.raises(InputError, match="codec `codec` is not trained yet"):
            build_video_codec(Trained(recipe=CODEC), CLIP, artifact)


def test_frames_that_do_not_divide_are_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        build_video_codec(Haar(down=16, time=1), Clip(seconds=1.0, size=(24, 16), fps=8, sample_rate=8_000), None)
