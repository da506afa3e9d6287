"""Stored clips become latents, batch by batch, and the fingerprint follows the codecs."""

from __future__ import annotations

import numpy as np
import torch

from avctl.codecs.build import build_audio_codec, build_video_codec
from avctl.codecs.encode import BATCH, Encoder
from avctl.schema import MDCT, Clip, Haar, Preprocess

CLIP = Clip(seconds=0.5, size=(16, 16), fps=16, sample_rate=16_000)
VIDEO, AUDIO = Haar(down=4), MDCT()


def encoder(video: Haar = VIDEO, audio: MDCT = AUDIO) -> Encoder:
    return Encoder(Preprocess(video_codec=video, audio_codec=audio), CLIP, None)


def clips(count: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (count, 8, 16, 16, 3), np.uint8)
    return frames, generator.integers(-20_000, 20_000, (count, 8_000, 2)).astype(np.int16)


def test_latents_decode_to_the_clips() -> None:
    frames, audio = clips(BATCH + 3)
    video_latents, audio_latents = (np.stack(each) for each in zip(*encoder()(list(frames), list(audio)), strict=True))
    assert video_latents.dtype == audio_latents.dtype == np.float16
    decoded = build_video_codec(VIDEO, CLIP, None).decode(torch.from_numpy(video_latents).float())
    assert np.abs((decoded.permute(0, 1, 3, 4, 2).numpy() + 1) * 127.5 - frames).max() < 2
    heard = build_audio_codec(AUDIO, CLIP).decode(torch.from_numpy(audio_latents).float(), 8_000)
    assert np.abs(heard.transpose(1, 2).numpy() - audio / 32_768).max() < 0.01


def test_no_clips_give_no_latents() -> None:
    assert encoder()([], []) == []


def test_clips_of_many_shapes_are_encoded_as_if_each_shape_were_alone() -> None:
    """And in the order in which they came."""
    wide = CLIP.model_copy(update={"size": (16, 32), "seconds": 0.25})
    frames, audio = clips(6)
    mixed = [
        (f[:4].repeat(2, axis=2), a[:4_000]) if i % 2 else (f, a)
        for i, (f, a) in enumerate(zip(frames, audio, strict=True))
    ]
    found = encoder()([f for f, _ in mixed], [a for _, a in mixed])
    for part in (mixed[::2], mixed[1::2]):
        alone = Encoder(Preprocess(video_codec=VIDEO, audio_codec=AUDIO), wide, None)(
            *map(list, zip(*part, strict=True))
        )
        ours = found[::2] if part[0][0].shape[0] == 8 else found[1::2]
        for (video, sound), (its_video, its_sound) in zip(ours, alone, strict=True):
            assert np.array_equal(video, its_video) and np.array_equal(sound, its_sound)


def test_shapes_are_those_of_the_longest_clip_in_every_size() -> None:
    clip = CLIP.model_copy(update={"other_sizes": ((16, 32),), "other_seconds": (0.25,)})
    made = Encoder(Preprocess(video_codec=VIDEO, audio_codec=AUDIO), clip, None)
    assert made.video_shapes == {(16, 16): (8, 48, 4, 4), (16, 32): (8, 48, 4, 8)}
    assert made.audio_shape[0] == AUDIO.latent_frames(clip.samples)


def test_the_fingerprint_follows_what_is_computed() -> None:
    prints = {encoder().fingerprint, encoder(Haar(down=2)).fingerprint, encoder(audio=MDCT(hop=160)).fingerprint}
    assert len(prints) == 3
    assert encoder().fingerprint == encoder().fingerprint
