"""The audit judges what a scan measured. Real files are in `tests/media/test_bad_inputs.py`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from avctl.curate.integrity import audit, sound_end
from avctl.media.probe import MediaError
from avctl.media.scan import Scan
from avctl.schema import Integrity


def media(scan: dict[str, Any] | None = None, probe: dict[str, Any] | None = None) -> Any:
    """A sound file of 2 s at 25 frames a second as `Media` describes it after a scan, with some changes."""
    good = {"times": [i / 25 for i in range(50)], "num_audio_frames": 90, "audio_end_s": 2.02, "peak": 0.5}
    claims = {"container": "mov,mp4", "video_end_s": 2.0, "audio_end_s": 2.0, "end_s": 2.0}
    return SimpleNamespace(scanned=Scan(**good | (scan or {})), probe=SimpleNamespace(**claims | (probe or {})))


def test_a_sound_file_passes() -> None:
    audit(media(), Integrity())


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        ({"times": []}, "no_video"),
        ({"num_audio_frames": 0}, "no_audio"),
        ({"times": [0.0]}, "one_frame"),
        ({"times": [0.0, 0.04, 0.12, 0.08]}, "out_of_order"),
        ({"damaged": 1}, "damaged"),
        ({"audio_end_s": 1.5}, "truncated"),
        ({"peak": 0.0}, "silent_audio"),
        ({"audio_start_s": 0.2}, "start_offset"),
        ({"gap_s": 0.2}, "sound_gap"),
    ],
)
def test_each_fault_has_its_reason(scan: dict[str, Any], reason: str) -> None:
    with pytest.raises(MediaError) as caught:
        audit(media(scan), Integrity())
    assert caught.value.reason == reason


@pytest.mark.parametrize("scan", [{"peak": 0.0}, {"peak": 0.0, "audio_start_s": 0.2}, {"num_audio_frames": 0}])
def test_sound_that_is_not_needed_may_be_missing_or_silent(scan: dict[str, Any]) -> None:
    soundless = media(scan)
    audit(soundless, Integrity(needs_sound=False))
    assert not soundless.scanned.has_sound
    whole = media()
    audit(whole, Integrity(needs_sound=False))
    assert whole.scanned.has_sound


def test_sound_that_is_not_needed_must_still_be_whole() -> None:
    with pytest.raises(MediaError, match="truncated"):
        audit(media({"audio_end_s": 1.5}), Integrity(needs_sound=False))


def test_ends_that_differ_are_drift_up_to_what_the_recipe_allows() -> None:
    apart = media({"audio_end_s": 3.0}, {"audio_end_s": 3.0, "end_s": 3.0})
    with pytest.raises(MediaError, match="drift"):
        audit(apart, Integrity())
    audit(apart, Integrity(max_drift_s=2.0))


def test_containers_that_estimate_their_length_get_a_second() -> None:
    audit(media({}, {"container": "asf", "video_end_s": 2.8}), Integrity())
    with pytest.raises(MediaError, match="truncated"):
        audit(media({}, {"container": "asf", "video_end_s": 3.2}), Integrity())


def test_the_filler_of_the_last_packet_is_not_sound() -> None:
    assert sound_end(media()) == 2.0
    assert sound_end(media({}, {"audio_end_s": None})) == 2.02
