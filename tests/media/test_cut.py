"""A clip's sound and picture are cut on one clock: where the flash is, there is the burst, to the sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avctl.media.cut import MAX_PADDING_S, Cut, cut
from avctl.media.decode import Media
from avctl.media.probe import MediaError
from avctl.schema import Clip

Make = Callable[..., Path]
CLIP = Clip(seconds=1.0, size=(48, 64), fps=25, sample_rate=48_000, channels=2)


def clip_of(path: Path, frame: int, clip: Clip = CLIP) -> Cut:
    """The clip that begins with this frame of the file."""
    with Media(path) as media:
        for _ in media.scan():
            pass
        return cut(media, media.scanned.times[frame], clip)


def flash_s(made: Cut, clip: Clip = CLIP) -> float:
    """When the first bright frame is shown."""
    return float(np.flatnonzero(made.frames.mean(axis=(1, 2, 3)) > 128)[0]) / clip.fps


def burst_s(made: Cut, clip: Clip = CLIP) -> float:
    """When the burst begins: the lag at which a burst like that of the footage fits best, to a tenth of a sample."""
    t = np.arange(round(0.01 * clip.sample_rate)) / clip.sample_rate
    pattern = np.sin(np.pi * t / 0.01) ** 2 * np.sin(2 * np.pi * 2_000 * t)
    fit = np.correlate(made.audio[:, 0].astype(float), pattern)
    best = int(np.argmax(fit))
    before, peak, after = fit[best - 1 : best + 2]
    return float(best + (before - after) / (2 * (before - 2 * peak + after))) / clip.sample_rate


FILES: Mapping[str, dict[str, Any]] = {
    "aac in mp4, with the encoder's delay taken off by an edit list": {},
    "plain samples in mov": {"name": "a.mov", "audio_codec": "pcm_s16le"},
    "picture starts after the sound": {"video_start_s": 0.08},
    "sound starts after the picture": {"audio_start_s": 0.08},
    "sound starts between two frames": {"audio_start_s": 0.0213},
    "mpeg transport stream": {"name": "a.ts"},
    "b-frames": {"video_options": {"preset": "veryfast", "crf": "12", "bf": "3"}},
    "44.1 kHz": {"rate": 44_100},
    "8 kHz": {"rate": 8_000, "audio_codec": "pcm_s16le", "name": "a.mov"},
    "mono": {"layout": "mono"},
    "5.1": {"layout": "5.1"},
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("first_frame", [10, 3])
def test_burst_and_flash_meet_to_the_sample(footage: Make, kind: str, first_frame: int) -> None:
    changes = FILES[kind]
    event_s = changes.get("video_start_s", 0.0) + 20 / 25
    made = clip_of(footage(event_s=event_s, **changes), first_frame)
    assert flash_s(made) == pytest.approx((20 - first_frame) / 25)
    assert abs(burst_s(made) - flash_s(made)) <= 1 / CLIP.sample_rate
    assert abs(made.skew) <= 0.5
    assert made.padded == 0


@pytest.mark.parametrize("name", ["a.mkv", "a.flv"])
def test_the_jitter_of_stamps_on_a_millisecond_grid_averages_out(footage: Make, name: str) -> None:
    """The first frame's own stamp stays rounded: half a millisecond is what the container leaves open."""
    made = clip_of(footage(name=name, rate=44_100, event_s=0.8), 10)
    assert flash_s(made) == pytest.approx(0.4)
    assert abs(burst_s(made) - flash_s(made)) <= 0.0006
    assert abs(made.skew) <= 0.5


@pytest.mark.parametrize("frame", [5, 6, 7, 8])
def test_the_stored_skew_is_what_is_left_between_burst_and_flash(footage: Make, frame: int) -> None:
    clip = Clip(seconds=1.0, size=(48, 64), fps=30, sample_rate=24_000)
    made = clip_of(footage(fps=30, rate=44_100, event_s=1.0, name="a.mov", audio_codec="pcm_s16le"), frame, clip)
    assert (flash_s(made, clip) - burst_s(made, clip)) * clip.sample_rate == pytest.approx(made.skew, abs=0.1)


def test_frames_are_those_of_the_times_asked_for(footage: Make) -> None:
    """From 25 to 10 frames a second: the nearest frame is at most half an interval away."""
    clip = Clip(seconds=1.0, size=(48, 64), fps=10, sample_rate=48_000)
    made = clip_of(footage(event_s=0.6), 0, clip)
    bright = made.frames.mean(axis=(1, 2, 3)) > 128
    assert np.flatnonzero(bright).tolist() == [6, 7]  # 0.7 s lies between 0.68, still bright, and 0.72: the earlier


def test_a_still_frame_of_a_variable_rate_lasts_until_the_next_is_shown(footage: Make) -> None:
    times = (*np.arange(0, 0.4, 0.04), 0.8, *np.arange(1.0, 2.0, 0.04))
    made = clip_of(footage(times=times, event_s=0.8), 0)
    bright = np.flatnonzero(made.frames.mean(axis=(1, 2, 3)) > 128)
    assert bright[0] == 20  # not from the middle of the long frame on
    assert abs(burst_s(made) - flash_s(made)) <= 1.01 / CLIP.sample_rate


def test_a_clip_may_lack_one_packet_of_sound_and_no_more(footage: Make) -> None:
    path = footage(audio_start_s=0.02, audio_codec="pcm_s16le", name="a.mov")
    made = clip_of(path, 0)
    assert made.padded == round(0.02 * CLIP.sample_rate)
    assert not made.audio[: made.padded].any()
    late = footage(audio_start_s=MAX_PADDING_S + 0.01, audio_codec="pcm_s16le", name="b.mov")
    with pytest.raises(MediaError, match="no_sound_here"):
        clip_of(late, 0)


def test_a_file_too_large_to_hold_is_cut_the_same_by_seeking(footage: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"preset": "veryfast", "crf": "12", "bf": "2", "g": "12"}
    path = footage(seconds=6.0, event_s=4.0, video_options=options)
    held = clip_of(path, 85)
    monkeypatch.setattr("avctl.media.decode.HOLD_BYTES", 10_000)
    sought = clip_of(path, 85)
    assert np.array_equal(held.frames, sought.frames)
    assert np.abs(held.audio.astype(int) - sought.audio).max() <= 1
    assert held.skew == pytest.approx(sought.skew, abs=1e-6)
