"""Log-mel magnitudes, and waveforms from them by Griffin-Lim.

The magnitude of a band is the root of its mean power, so that loudness survives. Back from bands to bins goes the power
that fits them and is nowhere negative, by multiplicative updates (Richardson 1972, Lucy 1974).
Stereo is held as mid and balance: half the sum and half the difference of the log mels of both channels. The phase is
estimated once, on their mean magnitude (Griffin and Lim 1984, accelerated after Perraudin et al. 2013), and shared.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchaudio.functional import melscale_fbanks

from avctl.codecs.codec import AudioCodec
from avctl.schema import LogMel

LOWEST_HZ = 60.0
MOMENTUM = 0.99
ITERATIONS = 48
UPDATES = 8  # of the power in bins: the level is right to 0.1 dB
_LEAST = 1e-12


class LogMelCodec(AudioCodec):
    window: Tensor
    mel: Tensor

    def __init__(self, spec: LogMel, sample_rate: int, num_channels: int):
        super().__init__()
        self.spec, self.hop, self.floor, self.num_channels = spec, spec.hop, spec.floor, num_channels
        self.channels = spec.mels * num_channels
        self.register_buffer("window", torch.hann_window(spec.window), persistent=False)
        bank = melscale_fbanks(spec.window // 2 + 1, LOWEST_HZ, sample_rate / 2, spec.mels, sample_rate)  # bins, mels
        bank = bank / bank.sum(0).clamp(min=1e-6)  # a band is a mean
        self.register_buffer("mel", bank, persistent=False)

    def encode(self, samples: Tensor) -> Tensor:
        power = self._stft(samples).abs().square()  # B channels bins F
        logs = (self._bands(power).sqrt() + self.floor).log()
        if self.num_channels == 1:
            return logs[:, 0]
        left, right = logs.unbind(1)
        return torch.cat([(left + right) / 2, (left - right) / 2], dim=-1)

    def decode(self, latents: Tensor, samples: int) -> Tensor:
        magnitude = self._magnitude(latents)  # B channels bins F
        phase = self._phase(magnitude.mean(1), samples)
        return self._istft(magnitude * phase[:, None], samples)

    def _magnitude(self, latents: Tensor) -> Tensor:
        logs = latents[:, None]
        if self.num_channels == 2:
            mid, balance = latents.chunk(2, dim=-1)
            logs = torch.stack([mid + balance, mid - balance], dim=1)
        bands = (logs.exp() - self.floor).clamp(min=0).square()
        weight = self.mel.sum(1)[:, None].clamp(min=_LEAST)
        power = self._bins(bands)
        for _ in range(UPDATES):
            power = power * self._bins(bands / self._bands(power).clamp(min=_LEAST)) / weight
        return power.sqrt()

    def _bands(self, bins: Tensor) -> Tensor:
        """(B, channels, bins, F) -> their means (B, channels, F, mels)."""
        return torch.einsum("bcnf,nm->bcfm", bins, self.mel)

    def _bins(self, bands: Tensor) -> Tensor:
        """Each bin the sum of the bands (B, channels, F, mels) with its weight in them: the transpose of `_bands`."""
        return torch.einsum("bcfm,nm->bcnf", bands, self.mel)

    def _phase(self, magnitude: Tensor, samples: int) -> Tensor:
        """magnitude (B, bins, F) -> unit complex numbers whose spectrogram is nearly consistent with it."""
        generator = torch.Generator(magnitude.device).manual_seed(0)
        turns = torch.rand(magnitude.shape[1:], generator=generator, device=magnitude.device)
        phase = torch.polar(torch.ones_like(magnitude), 2 * torch.pi * turns.expand_as(magnitude))
        previous = torch.zeros_like(phase)
        for _ in range(ITERATIONS):
            rebuilt = self._stft(self._istft(magnitude * phase, samples))
            ahead = rebuilt - MOMENTUM / (1 + MOMENTUM) * previous
            phase, previous = ahead / ahead.abs().clamp(min=1e-9), rebuilt
        return phase

    def _stft(self, samples: Tensor) -> Tensor:
        """samples (..., samples) -> (..., bins, F) with exactly ceil(samples / hop) frames, centred on their hop."""
        count = self.latent_frames(samples.shape[-1])
        n = len(self.window)
        left = (n - self.hop) // 2
        padded = pad(samples, (left, (count - 1) * self.hop + n - left - samples.shape[-1]))
        frames = padded.unfold(-1, n, self.hop) * self.window
        return torch.fft.rfft(frames).transpose(-1, -2) * (2 / self.window.sum())

    def _istft(self, spectrum: Tensor, samples: int) -> Tensor:
        """The least-squares inverse of `_stft`: overlap-add with the window, over the sum of its squares."""
        n = len(self.window)
        frames = torch.fft.irfft(spectrum.transpose(-1, -2), n) * (self.window.sum() / 2)
        flat = (frames * self.window).flatten(0, -3).transpose(1, 2)  # batch n F
        summed, weight = (
            _overlap(flat, self.hop),
            _overlap(self.window.square()[None, :, None].expand(1, n, flat.shape[2]), self.hop),
        )
        left = (n - self.hop) // 2
        waves = (summed / weight.clamp(min=1e-4))[:, left : left + samples]
        return waves.view(*frames.shape[:-2], samples)


def _overlap(columns: Tensor, hop: int) -> Tensor:
    """columns (B, n, F) -> (B, (F - 1) hop + n): each column added at its place."""
    batch, n, count = columns.shape
    length = (count - 1) * hop + n
    return torch.nn.functional.fold(columns, (1, length), (1, n), stride=(1, hop)).view(batch, length)
