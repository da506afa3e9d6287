"""What travels with the transformer: the text encoder of the recipe, and a scale that latents survive."""

from __future__ import annotations

import pytest
import torch

from avctl.models.generator import Generator, Scale, build_text
from avctl.models.latents import Layout, Tracks
from avctl.models.packing import Grid
from avctl.models.patches import Patches
from avctl.models.pretrained import Pretrained
from avctl.models.text import WordText
from avctl.schema import JointDiT, WordEncoder

LAYOUT = Layout(
    video_frames=4, video_channels=6, video_size=(2, 2), video_rate=4.0,
    audio_frames=8, audio_channels=5, audio_rate=8.0
)  # fmt: skip


SPEC = JointDiT(width=32, num_dual=1, num_single=1, heads=2, video_patch=(1, 2, 1), audio_patch=2)
PATCHES = Patches(SPEC, LAYOUT)


def latents() -> Tracks:
    """Of twenty clips: channels of very different spread and mean."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randn(20, 4, 6, 2, 2, generator=generator) * 10.0 ** torch.arange(-3, 3)[:, None, None] + 7
    return Tracks(video, torch.randn(20, 8, 5, generator=generator) * 3 - 2)


def fitted(data: Tracks) -> Scale:
    scale = Scale(PATCHES, LAYOUT)
    scale.fit(data.video.unbind(), data.audio.unbind())
    return scale


def scaled(data: Tracks) -> Tracks:
    """As latents again."""
    return PATCHES.join(fitted(data)(PATCHES.split(data)), 20, PATCHES.main)


def test_scaled_latents_have_zero_mean_and_unit_size() -> None:
    made = scaled(latents())
    for x, axes in ((made.video, (0, 1, 3, 4)), (made.audio, (0, 1))):
        assert float(x.square().mean()) == pytest.approx(1.0, rel=1e-3)
        assert x.mean(axes).abs().max() < 2e-2


def test_loud_channels_stay_louder_but_less_so() -> None:
    spread = scaled(latents()).video.std((0, 1, 3, 4))
    assert (spread.diff()[2:] > 0).all()  # the two weakest are raised to a hundredth of the strongest
    assert spread[5] / spread[4] == pytest.approx(10**0.5, rel=0.1)


def test_scaling_is_undone_exactly() -> None:
    scale, tokens = fitted(latents()), PATCHES.split(latents())
    back = scale.inverse(scale(tokens))
    assert all(torch.allclose(a, b, atol=1e-3, rtol=1e-4) for a, b in zip(back, tokens, strict=True))


def test_a_scale_is_of_all_clips_whatever_their_shape() -> None:
    whole, video, audio = latents(), torch.full((6, 6, 1, 3), 2.0), torch.full((2, 5), 1.0)
    scale = Scale(PATCHES, LAYOUT)
    scale.fit([*whole.video, *[video] * 3], [*whole.audio, *[audio] * 3])
    num_rows, num_long = 20 * 4 * 2 * 2, 3 * 6 * 1 * 3
    expected = (whole.video.sum((0, 1, 3, 4)) + num_long * 2.0) / (num_rows + num_long)
    assert torch.allclose(scale.video_mean, expected, rtol=1e-4)
    assert torch.allclose(scale.audio_mean, (whole.audio.sum((0, 1)) + 6.0) / (160 + 6), rtol=1e-4)


def test_where_nothing_is_heard_sound_keeps_its_scale() -> None:
    scale = Scale(PATCHES, LAYOUT)
    scale.fit(latents().video.unbind(), [])
    assert (scale.audio_std == 1).all() and not scale.audio_mean.any() and (scale.video_std != 1).all()


def test_latents_that_never_change_stay_finite() -> None:
    made = scaled(Tracks(latents().video, torch.full((20, 8, 5), -4.6)))
    assert all(x.isfinite().all() for x in made)
    assert made.audio.abs().max() < 1e-3


def test_the_scale_is_saved_with_the_weights(tiny_model: Pretrained) -> None:
    names = {name for name in tiny_model.generator.state_dict() if name.startswith("scale.")}
    assert names == {f"scale.{kind}_{what}" for kind in ("video", "audio") for what in ("mean", "std")}


def test_the_text_encoder_is_that_of_the_section() -> None:
    spec = JointDiT(width=32, num_dual=1, num_single=0, heads=2, text=WordEncoder(max_tokens=9))
    text = build_text(spec)
    assert isinstance(text, WordText) and text.max_tokens == 9


def test_a_new_generator_answers_zero_for_any_caption() -> None:
    model, grids = Generator(SPEC, LAYOUT), (PATCHES.main, Grid(1, 2, 2, 0))
    tokens = Tracks(torch.randn(8 + 4, PATCHES.sizes[0]), torch.randn(4, PATCHES.sizes[1]))
    given = tokens.map(lambda x: torch.zeros(len(x)))
    out = model(tokens, torch.rand(2), given, model.tokenize(["a red ball", ""]), model.pack(grids))
    assert [x.shape for x in out] == [x.shape for x in tokens]
    assert not out.video.any() and not out.audio.any()
