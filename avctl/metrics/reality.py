"""The real clips that generated ones are held against: as they are, and through the codecs and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from avctl.codecs.codec import AudioCodec, VideoCodec
from avctl.codecs.convert import FULL_SCALE
from avctl.codecs.mdct import MDCTCodec
from avctl.metrics.codec_loss import codec_loss, there_and_back
from avctl.metrics.score import Record, Score
from avctl.metrics.scoring import score, score_clips
from avctl.metrics.watch import Footage, Watched, watch
from avctl.schema import Clip, Eval
from avctl.store.reader import ClipRow, ClipStore

NUM_DECODED = 32  # clips that go through the codecs: Griffin-Lim takes a tenth of a second each


@dataclass(frozen=True)
class Codecs:
    video: VideoCodec
    audio: AudioCodec


class Reality:
    """Clips of a store that have the recipe's size and full length, each read and watched once."""

    def __init__(self, store: ClipStore, clip: Clip, codecs: Codecs | None):
        self.store, self.clip, self.codecs = store, clip, codecs
        self.rows = {row.clip_id: row for row in store.clips(clip=clip)}
        held_out = [row for row in self.rows.values() if row.split == "test"] or list(self.rows.values())
        self._sample = [self.read(row) for row in held_out[:NUM_DECODED]] if codecs else []
        self._decoded = there_and_back(self._sample, codecs.video, codecs.audio) if codecs else []
        watched = zip(self._decoded, held_out, strict=False)
        self._decoded_watched = [self._watch(clip, row) for clip, row in watched]
        self._watched: dict[str, Watched] = {}

    def read(self, row: ClipRow) -> Footage:
        return Footage(self.store.frames(row), self.store.audio(row).astype(np.float32) / FULL_SCALE)

    def watch(self, row: ClipRow) -> Watched:
        if row.clip_id not in self._watched:
            self._watched[row.clip_id] = self._watch(self.read(row), row)
        return self._watched[row.clip_id]

    def ceilings(self, rows: Sequence[ClipRow], spec: Eval, record: Record) -> tuple[list[Score], list[Score]]:
        """Scores of the real clips of a set, and of held-out clips through the codecs; both without intervals.

        No scores for a set without real clips: others would be read in another way.
        """
        if not rows:
            return [], []
        quick = replace(record, resamples=0)
        decoded = score_clips(self._decoded_watched, spec, quick) if self.codecs else []
        return score_clips([self.watch(row) for row in rows], spec, quick), decoded

    def loss(self, record: Record) -> list[Score]:
        """Scores of what the codecs lose; none without codecs."""
        if not self.codecs:
            return []
        keeps_phase = isinstance(self.codecs.audio, MDCTCodec)
        measures = codec_loss(self._sample, self._decoded, self.clip.sample_rate, keeps_phase)
        return [score(measure, [False] * len(self._sample), record) for measure in measures]

    def _watch(self, clip: Footage, row: ClipRow) -> Watched:
        return watch(clip, self.clip.fps, self.clip.sample_rate, row.truth)
