"""Pictures for the report are valid PNG and show what they should where they should."""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib.image import imread

from avctl.metrics.report.figures import filmstrip, png_uri, spectrogram


def pixels(uri: str) -> np.ndarray:
    """(H, W, 3) uint8, by another reader."""
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return (imread(io.BytesIO(data), format="png") * 255).round().astype(np.uint8)


def test_pixels_come_back() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 13, 3)).astype(np.uint8)
    assert (pixels(png_uri(image)) == image).all()


def test_a_filmstrip_shows_sixteen_frames_in_order() -> None:
    frames = np.arange(32, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 10, 3), np.uint8)
    strip = pixels(filmstrip(frames))
    assert strip.shape == (8, 160, 3)
    assert (strip[0, ::10, 0] == np.arange(0, 32, 2)).all()
    assert pixels(filmstrip(frames[:3])).shape == (8, 30, 3)


def test_a_tone_is_bright_at_its_time_and_pitch() -> None:
    t = np.arange(32_000) / 16_000
    tone = (np.sin(2 * np.pi * 1_000 * t) * (t > 1))[:, None]
    picture = pixels(spectrogram(tone, 16_000)).sum(2).astype(float)
    middle = picture.shape[1] // 2
    assert picture[:, middle + 10 :].mean() > 4 * picture[:, : middle - 10].mean()
    row = picture[:, middle + 10 :].mean(1).argmax()
    rows = np.geomspace(8_000 * 0.98, 80, len(picture))
    assert abs(np.log2(rows[row] / 1_000)) < 0.1


def test_silence_is_dark() -> None:
    assert pixels(spectrogram(np.zeros((8_000, 1)), 8_000)).max() <= 4
