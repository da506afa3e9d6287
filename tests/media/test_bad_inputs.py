"""Every kind of bad or odd file has a defined result: clips that are right, or a reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from avctl.curate.prepare import Outcome, Source, prepare
from avctl.media.cut import Cut
from avctl.recipe.content import sha256
from avctl.schema import Clip, Filters, Integrity, Preprocess, Shots

Make = Callable[..., Path]
CLIP = Clip(seconds=1.0, size=(32, 32), fps=25, sample_rate=16_000, channels=2)

ONE_SHOT = Preprocess(shots=Shots(detector=None))  # the flash is no cut


def prepared(path: Path, preprocess: Preprocess | None = None) -> tuple[Outcome, list[Cut]]:
    is_readable = path.is_file() and os.access(path, os.R_OK, effective_ids=True)
    digest = sha256(path) if is_readable else "0" * 64
    return prepare(Source(digest, path, path.name, None, None, None), preprocess or ONE_SHOT, CLIP)


def reason(path: Path) -> str | None:
    outcome, clips = prepared(path)
    assert not (outcome.reason and clips)
    return outcome.reason


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert reason(tmp_path / "a.mp4") == "empty"


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    assert reason(tmp_path / "a.mp4") == "missing"


@pytest.mark.usefixtures("no_root")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.touch(mode=0)
    assert reason(path) == "unreadable"


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    assert reason(tmp_path / "a.mp4") == "unreadable"


def test_text_named_mp4_is_no_media(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("This is a shopping list: " + "eggs, " * 500)
    assert reason(tmp_path / "a.mp4") == "not_media"


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8"])
def test_a_playlist_cannot_make_the_decoder_read_other_files(footage: Make, tmp_path: Path, name: str) -> None:
    secret = footage(name="secret.ts")
    (tmp_path / name).write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n")
    assert reason(tmp_path / name) in ("refused", "not_media")


def test_a_concat_script_cannot_make_the_decoder_read_other_files(footage: Make, tmp_path: Path) -> None:
    footage(name="secret.mp4")
    (tmp_path / "a.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    assert reason(tmp_path / "a.mp4") in ("refused", "not_media")


def test_an_mp4_that_lost_its_index_is_truncated(footage: Make) -> None:
    path = footage()
    path.write_bytes(path.read_bytes()[:3_000])
    assert reason(path) == "truncated"


def test_an_mp4_that_breaks_off_after_its_index_is_refused(footage: Make, tmp_path: Path) -> None:
    path = footage(seconds=4.0)
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as file:
        streams = {stream.index: file.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                file.mux(packet)
    whole = (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    assert reason(tmp_path / "b.mp4") in ("truncated", "damaged")


def test_scrambled_bytes_in_the_middle_are_damage(footage: Make) -> None:
    path = footage(size=(128, 128), seconds=3.0)
    data = bytearray(path.read_bytes())
    data[5_000:9_000] = np.random.default_rng(0).integers(0, 256, 4_000, np.uint8).tobytes()
    path.write_bytes(data)
    assert reason(path) == "damaged"


def test_a_file_without_sound_has_no_audio(footage: Make) -> None:
    assert reason(footage(has_audio=False)) == "no_audio"


@pytest.mark.parametrize("shots", [Shots(), Shots(detector=None, sharpest_within_s=0.0)])  # by a scan, by a survey
def test_where_sound_is_not_needed_a_file_without_it_gives_pictures_alone(footage: Make, shots: Shots) -> None:
    lenient = Preprocess(integrity=Integrity(needs_sound=False), shots=shots, filters=Filters(min_snr_db=10.0))
    for path in (footage(has_audio=False), footage(volume=0.0)):
        outcome, cuts = prepared(path, lenient)
        assert outcome.reason is None and len(cuts) >= 1
        assert all(made.audio.shape == (0, CLIP.channels) and len(made.frames) == CLIP.frames for made in cuts)
        assert all(each.scores["snr_db"] is None and each.samples == 0 and not each.reason for each in outcome.clips)


def test_sound_alone_has_no_video(footage: Make) -> None:
    assert reason(footage(has_video=False)) == "no_video"
    assert reason(footage(name="a.wav", audio_codec="pcm_s16le", has_video=False)) == "no_video"


@pytest.mark.parametrize("shots", [Shots(), Shots(detector=None, sharpest_within_s=0.0)])  # by a scan, by a survey
def test_a_hole_in_the_sound_is_noticed(footage: Make, tmp_path: Path, shots: Shots) -> None:
    with av.open(str(footage(name="whole.mkv"))) as whole, av.open(str(tmp_path / "holed.mkv"), "w") as holed:
        streams = {stream.index: holed.add_stream_from_template(stream) for stream in whole.streams}
        for packet in whole.demux():
            is_lost = packet.stream.type == "audio" and packet.pts and 1.0 <= packet.pts * packet.time_base < 1.2
            if packet.size and not is_lost:
                packet.stream = streams[packet.stream_index]
                holed.mux(packet)
    outcome, _ = prepared(tmp_path / "holed.mkv", Preprocess(shots=shots))
    assert (outcome.reason, outcome.detail[:4]) == ("sound_gap", "0.21")
    lenient = Preprocess(shots=shots, integrity=Integrity(max_gap_s=0.3))
    assert prepared(tmp_path / "holed.mkv", lenient)[0].reason is None


def test_digital_silence_is_no_sound(footage: Make) -> None:
    assert reason(footage(volume=0.0)) == "silent_audio"


def test_an_avi_with_pictures_out_of_order_has_no_times(footage: Make) -> None:
    options = {"preset": "veryfast", "bf": "2"}
    assert reason(footage(name="a.avi", is_moving=True, video_options=options)) == "out_of_order"
    assert reason(footage(name="b.avi", is_moving=True, video_options=options | {"bf": "0"})) is None


def test_a_single_frame_is_no_video(footage: Make) -> None:
    assert reason(footage(times=(0.0,))) == "one_frame"


def test_a_source_as_long_as_the_clip_gives_one_clip(footage: Make) -> None:
    outcome, clips = prepared(footage(seconds=1.0, event_s=0.5))
    assert (outcome.reason, len(clips), outcome.clips[0].start_s) == (None, 1, 0.0)


def test_a_source_shorter_than_the_clip_gives_none_and_is_no_error(footage: Make) -> None:
    outcome, clips = prepared(footage(seconds=0.8, event_s=0.5))
    assert (outcome.reason, outcome.places, clips) == (None, 0, [])


def test_a_variable_frame_rate_is_told_and_cut(footage: Make) -> None:
    times = (*np.arange(0, 0.48, 0.04), *np.arange(0.6, 1.5, 0.06), *np.arange(1.52, 2.0, 0.04))
    outcome, clips = prepared(footage(times=times, event_s=5.0))
    assert outcome.facts["is_variable"] == 1
    assert len(clips) == 1


def test_a_wide_start_offset_is_refused_and_a_small_one_is_cut_right(footage: Make) -> None:
    assert reason(footage(audio_start_s=0.5)) == "start_offset"
    assert reason(footage(name="b.mp4", video_start_s=0.5)) == "start_offset"
    assert reason(footage(name="c.mp4", video_start_s=0.08)) is None


def test_sound_that_ends_long_before_the_picture_is_drift(footage: Make) -> None:
    path = footage(times=tuple(np.arange(0, 4.0, 0.04)), seconds=2.0)
    assert reason(path) == "drift"
    loose = Preprocess(integrity=Integrity(max_drift_s=5.0))
    outcome, clips = prepared(path, loose)
    assert outcome.reason is None
    assert all(clip.start_s + 1 <= 2.03 for clip in outcome.clips)  # only where there is sound
    assert len(clips) == 1


def test_high_dynamic_range_is_refused(footage: Make) -> None:
    options = {"preset": "ultrafast", "x264-params": "transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc"}
    assert reason(footage(video_options=options)) == "hdr"


ODD_FILES = {
    "odd width": {"size": (49, 75), "pixel_format": "yuv444p"},
    "10 bit": {"pixel_format": "yuv420p10le"},
    "5.1": {"layout": "5.1"},
    "mono": {"layout": "mono"},
    "picture after sound": {"video_start_s": 0.06},
    "letters of many scripts": {"name": "кот 猫 🐈.mp4"},
    "spaces": {"name": "  a  b .mp4"},
    "newline": {"name": "a\nb.mp4"},
    "quotes and a colon": {"name": "file:'a\".mp4"},
    "percent": {"name": "a%03d.mp4"},
}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_an_odd_file_gives_clips_like_any_other(footage: Make, kind: str) -> None:
    outcome, clips = prepared(footage(seconds=1.5, event_s=0.8, **ODD_FILES[kind]))
    assert outcome.reason is None
    assert len(clips) == 1
    assert clips[0].frames.shape == (25, 32, 32, 3)
    assert clips[0].audio.shape == (16_000, 2)
    assert np.abs(clips[0].audio).max() > 3_000
    assert clips[0].frames.mean(axis=(1, 2, 3)).max() > 200 > 40 > clips[0].frames[0].mean()


def test_mono_is_heard_alike_on_both_sides(footage: Make) -> None:
    audio = prepared(footage(layout="mono"))[1][0].audio
    assert np.array_equal(audio[:, 0], audio[:, 1])
