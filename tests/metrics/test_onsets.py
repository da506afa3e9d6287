"""Onsets lie where the sound begins, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from avctl.metrics.onsets import onsets


@pytest.mark.parametrize("rate", [16_000, 24_000, 48_000])
def test_a_tone_begins_when_it_begins(rate: int) -> None:
    t = np.arange(rate) / rate
    for begin in (0.2, 0.4137):
        tone = np.where(t > begin, np.sin(2 * np.pi * 500 * t), 0.0)
        assert np.abs(onsets(tone, rate) - begin).max() < 0.006


def test_a_steady_tone_has_none_even_where_the_clip_cuts_it_off() -> None:
    t = np.arange(16_000) / 16_000
    assert not len(onsets(np.sin(2 * np.pi * 500 * t), 16_000))


def test_a_soft_note_counts_beside_a_loud_one() -> None:
    t = np.arange(32_000) / 16_000
    loudness = np.where(t % 1 > 0.5, np.exp(-(t % 1 - 0.5) / 0.1), 0) * np.where(t > 1, 0.25, 1.0)
    assert np.allclose(onsets(loudness * np.sin(2 * np.pi * 500 * t), 16_000), [0.5, 1.5], atol=0.006)


def test_two_notes_closer_than_70_ms_are_one() -> None:
    t = np.arange(16_000) / 16_000
    notes = sum(np.where(t > begin, np.exp(-(t - begin) / 0.02), 0) for begin in (0.4, 0.44, 0.7))
    assert len(onsets(notes * np.sin(2 * np.pi * 500 * t), 16_000)) == 2
