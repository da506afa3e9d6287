"""torchcodec counts frames and samples by itself, so that it can say when something is amiss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avctl.media.decode import Media
from avctl.media.engines import EngineError
from avctl.media.engines.torchcodec import TorchCodec

Make = Callable[..., Path]
pytestmark = pytest.mark.ffmpeg


def opened(path: Path) -> Media:
    media = Media(path)
    for _ in media.scan():
        pass
    return media


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_its_sound_is_pyavs_sample_by_sample(footage: Make, layout: str) -> None:
    with opened(footage(layout=layout)) as media:
        given, expected = TorchCodec().sound(media, 0.5, 1.5), media.sound(0.5, 1.5)
    first = round((given.start_s - expected.start_s) * given.rate)
    assert (given.rate, given.layout) == (expected.rate, expected.layout)
    assert given.samples.shape[0] == pytest.approx(48_000, abs=1)
    samples = expected.samples[first : first + len(given.samples)]
    assert np.abs(given.samples - samples).max() < 1e-4


def test_a_clock_that_is_not_pyavs_is_refused(footage: Make) -> None:
    """An avi has no presentation times; with pictures out of order the two make up different ones."""
    options = {"preset": "veryfast", "bf": "2", "threads": "1"}
    path = footage(name="a.avi", is_moving=True, video_options=options)
    with opened(path) as media, pytest.raises(EngineError) as caught:
        TorchCodec().read(media, np.array([0.5]), (32, 32))
    assert caught.value.reason == "times"


def test_many_frames_are_decoded_in_batches(footage: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = np.arange(0, 1.9, 0.03)
    with opened(footage(is_moving=True)) as media:
        whole = TorchCodec().read(media, wanted, (48, 64))
        monkeypatch.setattr("avctl.media.engines.torchcodec.BATCH_BYTES", 7 * 48 * 64 * 3)
        parts = TorchCodec().read(media, wanted, (48, 64))
    assert np.array_equal(whole[0], parts[0]) and np.array_equal(whole[1], parts[1])
