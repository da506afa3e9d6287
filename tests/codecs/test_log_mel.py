"""What comes back from magnitudes alone: pitch, place, loudness, the moment, and the exact length."""

from __future__ import annotations

import pytest
import torch

from avctl.codecs.log_mel import LogMelCodec
from avctl.schema import LogMel

RATE = 16_000


def codec(channels: int = 2) -> LogMelCodec:
    return LogMelCodec(LogMel(hop=320, window=1_024, mels=48, floor=0.01), RATE, channels)


def tone(hz: float, samples: int = RATE, left: float = 0.4, right: float = 0.4) -> torch.Tensor:
    """(1, 2, samples)."""
    wave = torch.sin(2 * torch.pi * hz * torch.arange(samples) / RATE)
    return torch.stack([left * wave, right * wave])[None]


def pitch(wave: torch.Tensor) -> float:
    """Hz of the strongest partial of (samples,)."""
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave))).abs()
    return float(spectrum.argmax()) * RATE / len(wave)


def rms(wave: torch.Tensor) -> float:
    return float(wave.square().mean().sqrt())


@pytest.mark.parametrize("hz", [220.0, 523.0, 1_100.0])
def test_a_tone_keeps_its_pitch_and_its_loudness(hz: float) -> None:
    back = codec().decode(codec().encode(tone(hz)), RATE)
    middle = back[0, 0, 2_000:-2_000]
    assert pitch(middle) == pytest.approx(hz, rel=0.07)  # half a mel band at 500 Hz
    assert rms(middle) == pytest.approx(rms(tone(hz)[0, 0]), rel=0.05)


def test_noise_keeps_its_loudness() -> None:
    noise = 0.1 * torch.randn(1, 2, RATE, generator=torch.Generator().manual_seed(0))
    back = codec().decode(codec().encode(noise), RATE)
    assert rms(back) == pytest.approx(rms(noise), rel=0.05)


@pytest.mark.parametrize(("left", "right"), [(0.4, 0.1), (0.1, 0.4), (0.3, 0.3)])
def test_a_tone_keeps_its_place_between_the_channels(left: float, right: float) -> None:
    back = codec().decode(codec().encode(tone(440.0, left=left, right=right)), RATE)[0, :, 2_000:-2_000]
    assert rms(back[0]) / rms(back[1]) == pytest.approx(left / right, rel=0.25)


def test_a_beat_keeps_its_moment() -> None:
    audio = torch.zeros(1, 2, RATE)
    audio[..., 8_000:8_800] = tone(800.0, 800)
    back = codec().decode(codec().encode(audio), RATE)[0].mean(0)
    energy = back.square().unflatten(0, (-1, 160)).sum(1)  # of 10 ms
    assert 48 <= int((energy > 0.2 * energy.max()).nonzero()[0]) <= 52


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 1_000, 15_999])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_length_is_exact(samples: int, channels: int) -> None:
    audio = tone(300.0, samples)[:, :channels]
    latents = codec(channels).encode(audio)
    assert latents.shape == (1, -(-samples // 320), 48 * channels)
    assert codec(channels).decode(latents, samples).shape == (1, channels, samples)


def test_decoding_twice_gives_equal_bytes() -> None:
    latents = codec().encode(tone(440.0))
    assert torch.equal(codec().decode(latents, RATE), codec().decode(latents, RATE))


def test_a_clip_decodes_the_same_alone_and_in_a_batch() -> None:
    latents = codec().encode(torch.cat([tone(440.0), tone(700.0)]))
    together = codec().decode(latents, RATE)
    alone = codec().decode(latents[1:], RATE)
    assert rms(together[1] - alone[0]) < 0.02 * rms(alone)


def test_silence_stays_silent() -> None:
    back = codec().decode(codec().encode(torch.zeros(1, 2, 8_000)), 8_000)
    assert back.abs().max() < 1e-3


def test_latents_of_16_bits_sound_the_same() -> None:
    latents = codec().encode(tone(440.0))
    back = codec().decode(latents.half().float(), RATE)[0, 0]
    assert pitch(back) == pytest.approx(440.0, rel=0.07)


def test_the_transform_inverts_where_the_phase_is_known() -> None:
    stereo = codec()
    audio = 0.3 * torch.randn(2, 2, 5_001, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(stereo._istft(stereo._stft(audio), 5_001), audio, atol=1e-4)


def test_a_latent_frame_is_centred_on_its_hop() -> None:
    audio = torch.zeros(1, 2, 3_200)
    audio[..., 5 * 320 + 160] = 1.0  # the middle of the sixth hop
    mid = codec().encode(audio)[0, :, :48].mean(-1)
    assert int(mid.argmax()) == 5
    assert torch.allclose(mid[4], mid[6], atol=0.02)
