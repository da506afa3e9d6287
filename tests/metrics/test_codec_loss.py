"""What codecs lose, of one that loses nothing and one that keeps no phase."""

from __future__ import annotations

import pytest

from avctl.codecs.build import build_audio_codec, build_video_codec
from avctl.media.synthetic import render
from avctl.metrics.codec_loss import codec_loss, there_and_back
from avctl.metrics.statistics import pooled
from avctl.metrics.watch import Footage
from avctl.schema import MDCT, Clip, Haar, LogMel, Synthetic

CLIP = Clip(seconds=2.0, size=(32, 32), fps=16, sample_rate=16_000)


@pytest.fixture(scope="module")
def clips() -> list[Footage]:
    spec = Synthetic(count=3, size=CLIP.size)
    return [Footage(scene.frames, scene.audio) for scene in (render(i, spec) for i in range(3))]


def losses(clips: list[Footage], audio: MDCT | LogMel) -> dict[str, tuple[float, list[float]]]:
    codec = build_audio_codec(audio, CLIP)
    back = there_and_back(clips, build_video_codec(Haar(), CLIP, None), codec)
    assert [b.frames.shape for b in back] == [c.frames.shape for c in clips]
    assert [b.audio.shape for b in back] == [c.audio.shape for c in clips]
    measures = codec_loss(clips, back, CLIP.sample_rate, keeps_phase=isinstance(audio, MDCT))
    return {
        m.name: (
            pooled(m.statistic, m.values, range(3)),
            [pooled(m.statistic, values, range(3)) for values in m.wrong.values()],
        )
        for m in measures
    }


def test_exact_codecs_lose_nothing_and_stills_and_silence_do(clips: list[Footage]) -> None:
    found = losses(clips, MDCT())
    assert found["PSNR"][0] > 60 > found["PSNR"][1][0]
    assert found["SSIM"][0] > 0.999 > found["SSIM"][1][0]
    assert found["mel distance"][0] < 0.1 < found["mel distance"][1][0]
    assert found["SI-SDR"][0] > 60


def test_a_codec_without_phase_is_not_asked_for_waveforms(clips: list[Footage]) -> None:
    found = losses(clips, LogMel())
    assert "SI-SDR" not in found
    assert 0.1 < found["mel distance"][0] < found["mel distance"][1][0]
