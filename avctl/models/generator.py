"""Everything that is trained together and travels together: text encoder, scale of the latents, transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from avctl.models.joint_dit import JointTransformer
from avctl.models.latents import Latents, Layout
from avctl.models.text import SentenceText, WordText
from avctl.schema import JointDiT, SentenceEncoder, WordEncoder


class Generator(nn.Module):
    """A recipe's `JointDiT` with its text encoder and the scale of its latents."""

    def __init__(self, spec: JointDiT, layout: Layout):
        super().__init__()
        self.layout = layout
        self.text = build_text(spec)
        self.scale = Scale(layout)
        self.transformer = JointTransformer(spec, layout)

    def forward(self, latents: Latents, t: Tensor, given: Latents, tokens: Tensor) -> Latents:
        """Scaled latents -> the network's output; t (B,), given (B, F) each, tokens from `tokenize`."""
        text, pooled = self.text(tokens)
        return self.transformer(latents, t, given, text, pooled)

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        return self.text.tokenize(captions)


class Scale(nn.Module):
    """Latents as a codec makes them, to latents of about unit size per channel, and back.

    Half-way whitening: dividing by the square root of each channel's spread brings weak channels forward without
    making them as loud as strong ones; one factor then sets the overall rms to 1.
    """

    video_mean: Tensor
    video_std: Tensor
    audio_mean: Tensor
    audio_std: Tensor

    def __init__(self, layout: Layout):
        super().__init__()
        for name, channels in (("video", layout.video_channels), ("audio", layout.audio_channels)):
            self.register_buffer(f"{name}_mean", torch.zeros(channels))
            self.register_buffer(f"{name}_std", torch.ones(channels))

    @torch.no_grad()
    def fit(self, sample: Sequence[Latents]) -> None:
        """Means and spreads from batches of clips: video (B, F, C, H, W), audio (B, F, C), each of any shape."""
        for name, parts in (("video", [x.video.movedim(2, -1) for x in sample]), ("audio", [x.audio for x in sample])):
            rows = torch.cat([channels_last.flatten(0, -2) for channels_last in parts]).float()
            mean, spread = rows.mean(0), rows.std(0)
            if spread.max() < 1e-6:  # nothing but silence, or one colour: there is no spread to divide by
                spread = torch.ones_like(spread)
            else:
                spread = spread.clamp(min=0.01 * spread.max()).sqrt()
                spread = spread * ((rows - mean) / spread).square().mean().sqrt()
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_std").copy_(spread)

    def forward(self, latents: Latents) -> Latents:
        """Codec latents -> scaled latents."""
        mean, std = self._tables()
        return latents.map(lambda x, m, s: (x - m) / s, mean, std)

    def inverse(self, latents: Latents) -> Latents:
        """Scaled latents -> codec latents."""
        mean, std = self._tables()
        return latents.map(lambda x, m, s: x * s + m, mean, std)

    def _tables(self) -> tuple[Latents, Latents]:
        return (
            Latents(self.video_mean[:, None, None], self.audio_mean),
            Latents(self.video_std[:, None, None], self.audio_std),
        )


def build_text(spec: JointDiT) -> WordText | SentenceText:
    """The text encoder of a model section."""
    match spec.text:
        case WordEncoder():
            return WordText(spec.text, spec.width, spec.heads)
        case SentenceEncoder():
            return SentenceText(spec.text, spec.width)
