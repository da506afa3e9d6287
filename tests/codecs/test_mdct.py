"""The transform loses nothing, whatever the length."""

from __future__ import annotations

import pytest
import torch

from avctl.codecs.mdct import MDCTCodec
from avctl.schema import MDCT


def noise(samples: int, channels: int = 2, scale: float = 0.3) -> torch.Tensor:
    return scale * torch.randn(2, channels, samples, generator=torch.Generator().manual_seed(samples))


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 1_000, 1_023])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_come_back_exactly(samples: int, channels: int) -> None:
    codec = MDCTCodec(MDCT(hop=64), channels)
    audio = noise(samples, channels)
    latents = codec.encode(audio)
    assert latents.shape == (2, codec.latent_frames(samples), codec.channels)
    back = codec.decode(latents, samples)
    assert back.shape == audio.shape
    assert torch.allclose(back, audio, atol=1e-5)


@pytest.mark.parametrize("hop", [50, 63, 320])
def test_any_hop_will_do(hop: int) -> None:
    codec = MDCTCodec(MDCT(hop=hop), 1)
    assert torch.allclose(codec.decode(codec.encode(noise(777, 1)), 777), noise(777, 1), atol=1e-5)


def test_it_is_critically_sampled() -> None:
    codec = MDCTCodec(MDCT(hop=100), 2)
    latents = codec.encode(noise(10_000))
    assert latents[0].numel() == 2 * (10_000 + 100)  # one block more than samples: the first half window


def test_a_click_reaches_two_latent_frames_only() -> None:
    audio = torch.zeros(1, 1, 1_000)
    audio[0, 0, 450] = 1
    latents = MDCTCodec(MDCT(hop=100), 1).encode(audio)
    assert latents[0].abs().amax(-1).gt(1e-3).nonzero().flatten().tolist() == [4, 5]


def test_quiet_partials_weigh_nearly_as_much_as_loud_ones() -> None:
    codec = MDCTCodec(MDCT(hop=64), 1)
    loud, quiet = codec.encode(noise(6_400, 1, 1.0)).std(), codec.encode(noise(6_400, 1, 0.01)).std()
    assert 0.05 < quiet / loud < 0.5  # the samples differ by a factor of 100


def test_latents_of_16_bits_stay_clean() -> None:
    codec = MDCTCodec(MDCT(hop=320), 2)
    audio = noise(16_000)
    error = codec.decode(codec.encode(audio).half().float(), 16_000) - audio
    assert 10 * torch.log10(audio.square().mean() / error.square().mean()) > 55  # dB
