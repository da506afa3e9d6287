"""Everything that is trained together and travels together: text encoder, scale of the latents, transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from avctl.models.joint_dit import JointTransformer
from avctl.models.latents import Layout, Tracks
from avctl.models.packing import Grid, Packing, pack
from avctl.models.patches import Patches
from avctl.models.text import SentenceText, WordText
from avctl.schema import JointDiT, SentenceEncoder, WordEncoder


class Generator(nn.Module):
    """A recipe's `JointDiT` with its text encoder and the scale of its latents."""

    def __init__(self, spec: JointDiT, layout: Layout):
        super().__init__()
        self.layout = layout
        self.text = build_text(spec)
        self.patches = Patches(spec, layout)
        self.scale = Scale(self.patches, layout)
        self.transformer = JointTransformer(spec, self.patches.sizes)

    def forward(self, tokens: Tracks, t: Tensor, given: Tracks, words: Tensor, packing: Packing) -> Tracks:
        """Scaled tokens of n clips, (V, p) and (A, q) -> the network's output; t (n,), given (V,) and (A,), words from
        `tokenize`."""
        text, pooled = self.text(words)
        return self.transformer(tokens, t, given, text, pooled, packing)

    def pack(self, grids: Sequence[Grid]) -> Packing:
        """Where the tokens of clips of these sizes stand, with the text that `tokenize` makes of a caption each."""
        return pack(grids, self.text.max_tokens, self.patches.clock)

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        return self.text.tokenize(captions)


class Scale(nn.Module):
    """Tokens of latents as a codec makes them, to tokens of about unit size per channel, and back.

    Half-way whitening: dividing by the square root of each channel's spread brings weak channels forward without
    making them as loud as strong ones; one factor then sets the overall rms to 1.
    """

    video_mean: Tensor
    video_std: Tensor
    audio_mean: Tensor
    audio_std: Tensor

    def __init__(self, patches: Patches, layout: Layout):
        super().__init__()
        self.patches = patches
        for name, channels in (("video", layout.video_channels), ("audio", layout.audio_channels)):
            self.register_buffer(f"{name}_mean", torch.zeros(channels))
            self.register_buffer(f"{name}_std", torch.ones(channels))

    @torch.no_grad()
    def fit(self, video: Sequence[Tensor], audio: Sequence[Tensor]) -> None:
        """Means and spreads from latents of clips of any shape: video (F, C, H, W), audio (F, C). They stay 0 and 1 of
        what there is none of."""
        for name, parts in (("video", [x.movedim(1, -1) for x in video]), ("audio", audio)):
            if not parts:
                continue
            rows = torch.cat([channels_last.flatten(0, -2) for channels_last in parts]).float()
            mean, spread = rows.mean(0), rows.std(0)
            if spread.max() < 1e-6:  # nothing but silence, or one colour: there is no spread to divide by
                spread = torch.ones_like(spread)
            else:
                spread = spread.clamp(min=0.01 * spread.max()).sqrt()
                spread = spread * ((rows - mean) / spread).square().mean().sqrt()
            getattr(self, f"{name}_mean").copy_(mean)
            getattr(self, f"{name}_std").copy_(spread)

    def forward(self, tokens: Tracks) -> Tracks:
        """Tokens of codec latents -> scaled tokens."""
        mean, std = self._tables()
        return tokens.map(lambda x, m, s: (x - m) / s, mean, std)

    def inverse(self, tokens: Tracks) -> Tracks:
        """Scaled tokens -> tokens of codec latents."""
        mean, std = self._tables()
        return tokens.map(lambda x, m, s: x * s + m, mean, std)

    def _tables(self) -> tuple[Tracks, Tracks]:
        """Mean and spread of each number of a token."""
        mean = Tracks(self.video_mean, self.audio_mean)
        return self.patches.of_channels(mean), self.patches.of_channels(Tracks(self.video_std, self.audio_std))


def build_text(spec: JointDiT) -> WordText | SentenceText:
    """The text encoder of a model section."""
    match spec.text:
        case WordEncoder():
            return WordText(spec.text, spec.width, spec.heads)
        case SentenceEncoder():
            return SentenceText(spec.text, spec.width)
