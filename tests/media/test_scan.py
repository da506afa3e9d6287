"""What a pass over a file measures, from its frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from avctl.media.decode import Media

Make = Callable[..., Path]


def test_a_scan_measures_rates_and_ends(footage: Make) -> None:
    with Media(footage(video_start_s=0.08)) as media:
        list(media.scan())
        scan = media.scanned
        assert len(scan.times) == 50
        assert scan.fps == pytest.approx(25)
        assert scan.video_start_s == pytest.approx(0.08)
        assert scan.video_end_s == pytest.approx(2.08)
        assert not scan.is_variable
        assert scan.damaged == 0
        assert 0.5 < scan.peak < 1


def test_a_variable_rate_is_noticed_and_a_rounded_one_is_not(footage: Make) -> None:
    with Media(footage(name="a.mkv", fps=30)) as media:
        list(media.scan())
        assert not media.scanned.is_variable
    with Media(footage(name="b.mkv", times=(0.0, 0.04, 0.08, 0.16, 0.2))) as media:
        list(media.scan())
        assert media.scanned.is_variable
