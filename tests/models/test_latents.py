"""Shape and clock of the latents follow from the clip and its codecs."""

from __future__ import annotations

import pytest
import torch

from avctl.codecs import build_audio_codec, build_video_codec
from avctl.models.latents import Layout, Tracks
from avctl.schema import MDCT, Clip, Haar, LogMel

CLIP = Clip(seconds=2.0, size=(16, 32), fps=8, sample_rate=8_000)


def test_a_layout_is_what_the_codecs_make() -> None:
    video, audio = build_video_codec(Haar(down=8, time=2), CLIP, None), build_audio_codec(LogMel(hop=400), CLIP)
    layout = Layout.of(CLIP, video, audio)
    assert video.encode(torch.zeros(1, 16, 3, 16, 32)).shape[1:] == (
        layout.video_frames,
        layout.video_channels,
        *layout.video_size,
    )
    assert audio.encode(torch.zeros(1, 2, 16_000)).shape[1:] == (layout.audio_frames, layout.audio_channels)
    assert (layout.video_rate, layout.audio_rate) == (4.0, 20.0)


def test_a_codec_that_looks_back_has_its_extra_frame() -> None:
    layout = Layout.of(CLIP, build_video_codec(Haar(), CLIP, None), build_audio_codec(MDCT(hop=400), CLIP))
    assert layout.audio_frames == 41


@pytest.mark.parametrize("section", [MDCT(hop=400), LogMel(hop=400)])
def test_a_sound_is_loudest_in_the_latent_frame_of_its_time(section: MDCT | LogMel) -> None:
    audio = build_audio_codec(section, CLIP)
    layout = Layout.of(CLIP, build_video_codec(Haar(), CLIP, None), audio)
    for i in range(3, 20):
        middle_s = layout.audio_start_s + (i + 0.5) / layout.audio_rate
        samples = torch.zeros(1, 2, 16_000)
        samples[..., round(middle_s * CLIP.sample_rate)] = 1.0
        power = audio.encode(samples)[0] - audio.encode(torch.zeros(1, 2, 16_000))[0]
        assert int(power.square().sum(1).argmax()) == i


def test_a_function_is_applied_to_what_belongs_together() -> None:
    a, b = Tracks(torch.ones(1), torch.ones(2)), Tracks(torch.full((1,), 2.0), torch.full((2,), 3.0))
    summed = a.map(lambda x, y, z: x + y * z, b, b)
    assert summed.video.tolist() == [5.0] and summed.audio.tolist() == [10.0, 10.0]
