"""One source file becomes clips, or an outcome that says why not. Odd files are in `tests/media/test_bad_inputs.py`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.stream import VideoStream

from avctl.curate.phash import phash
from avctl.curate.prepare import Outcome, Source, clip_id, prepare
from avctl.media import survey
from avctl.media.cut import cut
from avctl.media.decode import Media
from avctl.media.mux import write_mp4
from avctl.media.scan import Scan
from avctl.recipe import replace
from avctl.recipe.content import sha256
from avctl.schema import Clip, Filters, Preprocess, Shots

CLIP = Clip(seconds=1.0, size=(32, 32), fps=20, sample_rate=16_000, channels=1)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """3.2 s of grey that flickers a little, with a tone."""
    levels = 100 + np.arange(64) % 7
    frames = np.broadcast_to(levels[:, None, None, None].astype(np.uint8), (64, 48, 64, 3))
    tone = 0.3 * np.sin(np.arange(51_200) / 5)[:, None]
    write_mp4(tmp_path / "a.mp4", np.ascontiguousarray(frames), tone.astype(np.float32), 20, 16_000)
    return Source(sha256(tmp_path / "a.mp4"), tmp_path / "a.mp4", "a", None, None, None)


def test_a_source_gives_as_many_clips_as_fit(source: Source) -> None:
    outcome, cuts = prepare(source, Preprocess(), CLIP)
    assert outcome.reason is None
    assert outcome.places == len(outcome.clips) == outcome.num_cut == len(cuts) == 3
    assert [candidate.clip_id for candidate in outcome.clips] == [clip_id(cut) for cut in cuts]
    assert outcome.facts["video_codec"] == "h264"


def test_a_clip_has_the_perceptual_hash_of_its_middle(source: Source) -> None:
    outcome, cuts = prepare(source, Preprocess(), CLIP)
    middles = [cv2.cvtColor(made.frames[10], cv2.COLOR_RGB2GRAY) for made in cuts]
    assert [candidate.phash for candidate in outcome.clips] == [phash(middle) for middle in middles]


def test_at_most_so_many_clips_are_taken(source: Source) -> None:
    outcome, cuts = prepare(source, Preprocess(shots=Shots(max_clips=2)), CLIP)
    assert (outcome.places, len(outcome.clips), len(cuts)) == (3, 2, 2)


def test_a_dropped_clip_is_scored_and_not_cut(source: Source) -> None:
    outcome, cuts = prepare(source, Preprocess(filters=Filters(min_height=720)), CLIP)
    assert cuts == []
    assert [candidate.reason for candidate in outcome.clips] == ["height"] * 3
    assert all(candidate.scores["height"] == 48 and candidate.clip_id is None for candidate in outcome.clips)


def test_an_outcome_survives_being_written_down(source: Source) -> None:
    outcome, _ = prepare(source, Preprocess(), CLIP)
    assert Outcome.of(json.loads(json.dumps(asdict(outcome)))) == outcome


def test_a_file_that_changed_since_it_was_crawled_is_refused(source: Source) -> None:
    whole = source.path.read_bytes()
    source.path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    outcome, cuts = prepare(source, Preprocess(), CLIP)
    assert (outcome.reason, outcome.clips, cuts) == ("changed", [], [])


def test_a_shot_gives_the_longest_clips_that_fit_in_the_size_nearest_to_its_shape(source: Source) -> None:
    clip = replace(CLIP, seconds=2.0, other_seconds=(0.5,), other_sizes=((24, 32), (48, 32)))
    outcome, cuts = prepare(source, Preprocess(), clip)
    assert [cut.frames.shape for cut in cuts] == [(40, 24, 32, 3), (10, 24, 32, 3), (10, 24, 32, 3)]
    assert [len(cut.audio) for cut in cuts] == [32_000, 8_000, 8_000]
    assert [candidate.size for candidate in outcome.clips] == [(24, 32)] * 3


def test_preparing_twice_gives_the_same_clips(source: Source) -> None:
    assert prepare(source, Preprocess(), CLIP)[0] == prepare(source, Preprocess(), CLIP)[0]


def film(path: Path, seconds: int, start_s: int = 0, **options: str) -> Source:
    """A scene every 5 s, each a drifting pattern of its own, with a tone; a keyframe every second."""
    scenes = np.random.default_rng(0).uniform(0.4, 0.6, (seconds // 5, 3, 6, 1)) * (200, 100, 50)
    wide = [cv2.resize(scene * (1 + i % 2), (164, 48)).astype(np.uint8) for i, scene in enumerate(scenes)]
    shown = [wide[i // 100][:, i % 100 : i % 100 + 64] for i in range(seconds * 20)]
    with av.open(str(path), "w") as file:
        video = file.add_stream(options.pop("codec", "libx264"), rate=20, options={"g": "20", **options})
        audio = file.add_stream("aac", rate=16_000, layout="mono")
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for i, pixels in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = start_s * 20 + i
            file.mux(video.encode(frame))
        tone = (0.3 * np.sin(np.arange(seconds * 16_000) / 5)).astype(np.float32)[None]
        sound = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        sound.sample_rate, sound.pts = 16_000, start_s * 16_000
        file.mux(audio.encode(sound))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))
    return Source(sha256(path), path, path.name, None, None, None)


FEW = Preprocess(shots=Shots(max_clips=3))


def test_of_a_long_file_only_what_is_needed_is_decoded(tmp_path: Path) -> None:
    outcome, cuts = prepare(film(tmp_path / "a.mp4", 60), FEW, CLIP)
    assert len(cuts) == len(outcome.clips) == 3
    assert outcome.facts["frames"] == 1_200
    assert outcome.facts["seen_s"] < 10
    starts = [candidate.start_s for candidate in outcome.clips]
    assert [int(start // 20) for start in starts] == [0, 1, 2]  # spread over the file
    assert all(start // 5 == (start + 0.999) // 5 for start in starts)  # inside scenes


def test_a_clip_of_a_survey_is_the_clip_that_a_scan_gives(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 60)
    outcome, cuts = prepare(source, FEW, CLIP)
    assert len(cuts) == 3
    with Media(source.path) as media:
        list(media.scan())
        for candidate, found in zip(outcome.clips, cuts, strict=True):
            expected = cut(media, candidate.start_s, CLIP)
            assert np.array_equal(expected.frames, found.frames)
            assert np.abs(expected.audio.astype(int) - found.audio).max() <= 1  # decoded from another place on
            assert abs(found.skew) <= 0.5


def test_a_short_file_is_decoded_whole_however_late_it_starts(tmp_path: Path) -> None:
    outcome, cuts = prepare(film(tmp_path / "a.ts", 5, start_s=36_000), FEW, CLIP)
    assert outcome.facts["end_s"] == pytest.approx(36_005, abs=2)
    assert (len(cuts), outcome.facts["seen_s"]) == (3, pytest.approx(5, abs=0.01))


BLIND = Preprocess(shots=Shots(detector=None, sharpest_within_s=0.0, max_clips=60))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_where_nobody_looks_for_shots_only_the_frames_of_clips_are_decoded(tmp_path: Path, name: str) -> None:
    source = film(tmp_path / name, 10)
    outcome, cuts = prepare(source, BLIND, CLIP)
    assert [candidate.start_s for candidate in outcome.clips] == pytest.approx(list(range(10)))
    with Media(source.path) as media:
        list(media.scan())
        expected = [cut(media, float(second), CLIP) for second in range(10)]
    assert all(np.array_equal(one.frames, other.frames) for one, other in zip(expected, cuts, strict=True))
    assert all((candidate.scores["sharpness"] or 0) > 0 for candidate in outcome.clips)
    assert all(candidate.scores["cuts_per_s"] is None for candidate in outcome.clips)


def test_damage_is_noticed_where_nobody_looked_before(tmp_path: Path) -> None:
    source = damaged(film(tmp_path / "a.mkv", 10, sc_threshold="0"), at_s=4.5)
    assert prepare(source, BLIND, CLIP)[0].reason in ("damaged", "truncated")


def test_a_long_file_that_cannot_be_surveyed_is_decoded_whole(tmp_path: Path) -> None:
    outcome, cuts = prepare(film(tmp_path / "a.mkv", 60, codec="mpeg4"), FEW, CLIP)
    assert (len(cuts), outcome.facts["seen_s"]) == (3, pytest.approx(60))


def test_a_survey_that_fails_late_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = film(tmp_path / "a.mp4", 60)
    note, seen = survey._note_time, []

    def fail_late(packet: av.Packet, scanned: Scan) -> None:
        seen.append(packet)
        if len(seen) == 500:
            raise survey.Unsurveyable
        note(packet, scanned)

    monkeypatch.setattr(survey, "_note_time", fail_late)
    outcome, cuts = prepare(source, FEW, CLIP)
    with av.open(str(source.path)) as file:
        num_frames = file.streams.video[0].frames
    assert (outcome.reason, outcome.facts["frames"], len(cuts)) == (None, num_frames, 3)


def test_damage_is_refused_where_a_clip_would_be_and_not_elsewhere(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", 60, sc_threshold="0")
    seen = [candidate.start_s for candidate in prepare(source, FEW, CLIP)[0].clips]
    refused = prepare(damaged(source, at_s=seen[1] + 0.5), FEW, CLIP)[0]
    assert (refused.reason, refused.places, refused.clips) == ("damaged", 0, [])
    assert prepare(damaged(source, at_s=seen[1] + 3.5), FEW, CLIP)[0].reason is None


def damaged(source: Source, at_s: float) -> Source:
    """A copy with noise inside the first packet of a picture after `at_s` that no keyframe is in."""
    with av.open(str(source.path)) as file:
        packet = next(p for p in file.demux(video=0) if p.pts and p.pts * p.time_base > at_s and not p.is_keyframe)
        data = bytes(packet)
    whole = source.path.read_bytes()
    place = whole.index(data)
    noise = np.random.default_rng(0).integers(0, 256, len(data) - 8, np.uint8).tobytes()
    path = source.path.with_name(f"damaged-{at_s}.mkv")
    path.write_bytes(whole[: place + 8] + noise + whole[place + len(data) :])
    return Source(sha256(path), path, path.name, None, None, None)
