"""One source file to its clips: scan, audit, shots, scores, filters, cut. Runs inside a killable worker."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from avctl.curate.filters import judge, score, upright_height
from avctl.curate.integrity import audit, sound_end
from avctl.curate.shots import spread, starts, watch
from avctl.media.cut import Cut, cut, stretch
from avctl.media.decode import Media
from avctl.media.probe import MediaError
from avctl.recipe.content import sha256
from avctl.schema import Clip, Preprocess


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
    scores: dict[str, float]
    reason: str | None = None  # why it was dropped
    clip_id: str | None = None
    skew: float | None = None
    padded: int | None = None


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
        return Outcome(**{**plain, "clips": [Candidate(**clip) for clip in plain["clips"]]})


def prepare(source: Source, preprocess: Preprocess, clip: Clip) -> tuple[Outcome, list[Cut]]:
    """What became of one source, and its kept clips in order. A file that cannot be used is no exception."""
    outcome = Outcome()
    try:
        with Media(source.path) as media:
            if sha256(source.path) != source.sha256:
                raise MediaError("changed", "it does not hold the bytes that were crawled")
            return outcome, _clips(media, outcome, preprocess, clip)
    except MediaError as error:
        outcome.reason, outcome.detail, outcome.clips = error.reason, error.detail, []
        return outcome, []


def clip_id(made: Cut) -> str:
    """Content hash of a clip: sha256 of its frames and samples as stored."""
    digest = hashlib.sha256(made.frames.tobytes())
    digest.update(made.audio.tobytes())
    return digest.hexdigest()


def _clips(media: Media, outcome: Outcome, preprocess: Preprocess, clip: Clip) -> list[Cut]:
    pictures = watch(media, preprocess.shots)
    outcome.facts = _facts(media)
    audit(media, preprocess.integrity)
    scan = media.scanned
    span = scan.audio_start_s, sound_end(media)
    places = starts(pictures, span, scan.video_end_s, clip.seconds, preprocess.shots)
    outcome.places = len(places)
    outcome.facts["shots"] = len(pictures.cuts) + 1
    kept: list[Cut] = []
    for start_s in spread(places, preprocess.shots.max_clips):
        sound = stretch(media, start_s, clip)
        scores = score(media, pictures, sound, start_s, clip.seconds)
        candidate = Candidate(start_s, scores.plain(), judge(scores, preprocess.filters))
        outcome.clips.append(candidate)
        if candidate.reason is None:
            made = cut(media, start_s, clip, sound)
            candidate.clip_id, candidate.skew, candidate.padded = clip_id(made), made.skew, made.padded
            kept.append(made)
    return kept


def _facts(media: Media) -> dict[str, Any]:
    scan = media.scanned
    return {
        **asdict(media.probe),
        "upright_height": upright_height(media),
        "frames": len(scan.times),
        "fps": round(scan.fps, 6),
        "is_variable": int(scan.is_variable),
        "interlaced": int(scan.interlaced),
        "rotation": scan.rotation,
        "video_start_s": scan.times[0] if scan.times else None,
        "audio_start_s": scan.audio_start_s if scan.num_audio_frames else None,
        "damaged": scan.damaged,
    }
