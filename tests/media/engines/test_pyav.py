"""PyAV's engine is the open file itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from avctl.media.decode import Media
from avctl.media.engines.pyav import PyAV


def test_it_gives_what_the_open_file_gives(footage: Callable[..., Path]) -> None:
    engine, wanted = PyAV(), np.array([0.1, 0.5, 1.0])
    with Media(footage(is_moving=True)) as media:
        list(media.scan())
        assert engine.count(media) == 50
        for given, expected in zip(engine.read(media, wanted, (32, 32)), media.read(wanted, (32, 32)), strict=True):
            assert np.array_equal(given, expected)
        assert np.array_equal(engine.sound(media, 0.5, 1.0).samples, media.sound(0.5, 1.0).samples)
    assert engine.version[0].isdigit() and not engine.is_on_gpu
