"""One source file to its clips: scan, audit, shots, scores, filters, cut. Runs inside a killable worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avctl.curate.filters import judge, score, upright_size
from avctl.curate.integrity import audit, audit_damage, sound_end
from avctl.curate.phash import phash
from avctl.curate.places import Place, spread, starts
from avctl.curate.proposals import among, glance, guessed, propose
from avctl.curate.shots import Pictures, watch
from avctl.media.cut import Cut, cut, stretch
from avctl.media.decode import Media
from avctl.media.engines.fallback import Reader
from avctl.media.probe import MediaError
from avctl.media.survey import Unsurveyable, survey
from avctl.recipe.content import sha256
from avctl.schema import Clip, Integrity, Preprocess, Shots


@dataclass(frozen=True)
class Source:
    """One file of the crawl."""

    sha256: str
    path: Path
    name: str  # for people: its URL, or its path where it came from
    caption: str | None
    split: str | None  # the source's own
    truth: str | None  # JSON


@dataclass
class Candidate:
    """A clip that the source offers."""

    start_s: float
    scores: dict[str, float | None]
    reason: str | None = None  # why it was dropped
    clip_id: str | None = None
    skew: float | None = None
    padded: int | None = None
    frames: int | None = None  # of the clip as it was cut; so is all that follows
    samples: int | None = None  # 0: the source has no sound
    size: tuple[int, int] | None = None  # height, width
    engine: str | None = None  # that decoded its frames
    phash: str | None = None  # perceptual hash of the frame in its middle

    @staticmethod
    def of(plain: dict[str, Any]) -> Candidate:
        """The inverse of `dataclasses.asdict`, also by way of JSON."""
        return Candidate(**{**plain, "size": plain["size"] and (plain["size"][0], plain["size"][1])})

    def name_cut(self, made: Cut, engine: str) -> None:
        """Say what was cut of the source, and what decoded it."""
        self.clip_id, self.skew, self.padded = clip_id(made), made.skew, made.padded
        (self.frames, height, width, _), self.samples = made.frames.shape, len(made.audio)
        self.size, self.engine = (height, width), engine
        self.phash = phash(cv2.cvtColor(made.frames[len(made.frames) // 2], cv2.COLOR_RGB2GRAY))


@dataclass
class Outcome:
    """What became of one source. `reason` is set where the file itself was refused."""

    reason: str | None = None
    detail: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    places: int = 0  # where a clip fits; `clips` are at most `shots.max_clips` of them
    clips: list[Candidate] = field(default_factory=list)

    @property
    def num_cut(self) -> int:
        """Clips that passed every filter, whose frames and samples were written."""
        return sum(clip.clip_id is not None for clip in self.clips)

    @staticmethod
    def of(plain: dict[str, Any]) -> Outcome:
        """The inverse of `dataclasses.asdict`."""
        return Outcome(**{**plain, "clips": [Candidate.of(clip) for clip in plain["clips"]]})


def prepare(source: Source, preprocess: Preprocess, clip: Clip) -> tuple[Outcome, list[Cut]]:
    """What became of one source, and its kept clips in order. A file that cannot be used is no exception."""
    outcome = Outcome()
    try:
        with Media(source.path) as media:
            if sha256(source.path) != source.sha256:
                raise MediaError("changed", "it does not hold the bytes that were crawled")
            return outcome, _clips(media, outcome, preprocess, clip)
    except MediaError as error:
        outcome.reason, outcome.detail = error.reason, error.detail
        outcome.places, outcome.clips = 0, []
        return outcome, []


def clip_id(made: Cut) -> str:
    """Content hash of a clip: sha256 of its frames and samples as stored."""
    digest = hashlib.sha256(np.ascontiguousarray(made.frames).data)
    digest.update(np.ascontiguousarray(made.audio).data)
    return digest.hexdigest()


def _clips(media: Media, outcome: Outcome, preprocess: Preprocess, clip: Clip) -> list[Cut]:
    if preprocess.integrity.needs_sound and media.probe.audio_codec is None:
        raise MediaError("no_audio", "the file has no sound track")
    found: list[tuple[Candidate, Cut | None]] = []
    reader = Reader(media, preprocess.decode)
    for pictures in _seen(media, outcome, preprocess, clip):
        for place in _places(media, pictures, outcome, preprocess.shots, clip):
            found.append(_clip(reader, pictures, place, preprocess, clip))
            outcome.clips.append(found[-1][0])
    found.sort(key=lambda pair: pair[0].start_s)
    outcome.clips = [candidate for candidate, _ in found]
    if reader.fallback:
        outcome.facts |= {"fallback": reader.fallback.reason, "fallback_detail": reader.fallback.detail}
    return [made for _, made in found if made]


def _clip(
    reader: Reader, pictures: Pictures, place: Place, preprocess: Preprocess, clip: Clip
) -> tuple[Candidate, Cut | None]:
    """The clip of one place, scored; cut if no filter drops it."""
    media = reader.media
    bucket = clip.bucket(upright_size(media), place.seconds)
    sound = stretch(media, place.start_s, bucket) if media.scanned.has_sound else None
    scores = score(media, pictures, sound, place.start_s, place.seconds)
    candidate = Candidate(place.start_s, scores.plain(), judge(scores, preprocess.filters))
    if candidate.reason:
        return candidate, None
    made = cut(media, place.start_s, bucket, sound, reader)
    audit_damage(media, preprocess.integrity)
    candidate.name_cut(made, reader.used)
    return candidate, made


def _seen(media: Media, outcome: Outcome, preprocess: Preprocess, clip: Clip) -> Iterator[Pictures]:
    """Every stretch of the picture that is worth decoding; while one is worked on, `media` holds its frames.

    That is the whole file, or of a file that holds more than twice the clips that are taken, as much as they need.
    Where nobody looks for shots or for the sharpest frame, keyframes say enough.
    """
    shots = preprocess.shots
    length_s, most = clip.seconds + shots.sharpest_within_s, shots.max_clips
    looks_at_all = shots.detector is not None or shots.sharpest_within_s > 0
    if not looks_at_all or (media.probe.length_s or 0) > 2 * most * length_s:
        with suppress(Unsurveyable):
            keyframes = glance(survey(media))
            _audit(media, outcome, preprocess.integrity)
            if not looks_at_all:
                yield guessed(media.scanned.times, keyframes)
                return
            for begin_s, end_s in propose(keyframes, _span(media), length_s + media.scanned.interval_s, most):
                if len(outcome.clips) < most:
                    pictures = watch(media.span(begin_s, end_s), shots)
                    audit_damage(media, preprocess.integrity)
                    yield among(keyframes, pictures)
            return
    pictures = watch(media.scan(), shots)
    _audit(media, outcome, preprocess.integrity)
    yield pictures


def _audit(media: Media, outcome: Outcome, integrity: Integrity) -> None:
    outcome.facts = _facts(media)
    audit(media, integrity)
    outcome.facts["has_sound"] = media.scanned.has_sound


def _span(media: Media) -> tuple[float, float]:
    """When there is a picture, and sound if the file has any."""
    scan = media.scanned
    if not scan.has_sound:
        return scan.video_start_s, scan.video_end_s
    return max(scan.audio_start_s, scan.video_start_s), min(sound_end(media), scan.video_end_s)


def _places(media: Media, pictures: Pictures, outcome: Outcome, shots: Shots, clip: Clip) -> list[Place]:
    """Where clips begin that are taken of what was seen, as many as still are wanted."""
    if not len(pictures.times):
        return []
    scan = media.scanned
    end_s = float(pictures.times[-1]) + scan.interval_s
    found = starts(pictures, _span(media), end_s, clip.lengths_s, shots)
    outcome.places += len(found)
    outcome.facts["shots"] = outcome.facts.get("shots", 0) + len(pictures.shots)
    outcome.facts["seen_s"] = round(outcome.facts.get("seen_s", 0.0) + end_s - float(pictures.times[0]), 6)
    return spread(found, shots.max_clips - len(outcome.clips))


def _facts(media: Media) -> dict[str, Any]:
    scan = media.scanned
    return {
        **asdict(media.probe),
        "upright_height": upright_size(media)[0],
        "frames": len(scan.times),
        "fps": round(scan.fps, 6),
        "is_variable": int(scan.is_variable),
        "interlaced": int(scan.interlaced),
        "rotation": scan.rotation,
        "video_start_s": scan.times[0] if scan.times else None,
        "audio_start_s": scan.audio_start_s if scan.has_sound else None,
        "damaged": scan.damaged,
    }
