"""Whether two engines give the same: how many frames, which frame for a time, when it is shown, its pixels, the sound.

An engine may scale by another filter and round otherwise; another frame, another matrix of colours or a shifted crop
is what the comparison is for.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avctl.errors import MachineError
from avctl.media.decode import Media
from avctl.media.engines import Engine, EngineError, build
from avctl.media.fit import Fit
from avctl.media.probe import open_media, tracks
from avctl.media.sparse import frames_at

FRAMES = 16  # compared, spread over the file
SIZE = (144, 256)  # of the compared frames: its longer side is that of the picture
SOUND_ERROR = 0.01  # of a sample, full scale 1, that is wrong: decoders of one codec round by less than a thousandth
SOUND_S = 30.0  # compared, from the first frame on
_DOUBT_DB = 1.0  # by which a neighbour must resemble a frame more: in a still scene all are alike, but for noise
_LAG = 2_048  # samples searched on both sides: an encoder's delay is at most that


@dataclass(frozen=True)
class Parity:
    """One engine on one file, against PyAV. None where there is nothing to compare."""

    file: str
    engine: str
    frames: int | None = None  # in the file
    missing: int | None = None  # frames that PyAV finds and this engine does not; negative: the other way round
    time_s: float | None = None  # largest difference of presentation times
    same: int | None = (
        None  # of the `FRAMES` compared, those that look no more like a neighbour of PyAV's frame than like it
    )
    min_psnr_db: float | None = None
    median_psnr_db: float | None = None
    sound: float | None = None  # largest difference of samples, full scale 1, after the offset
    sound_offset: int | None = None  # samples by which this engine's sound is late
    fps: float | None = None  # compared frames a second, wall time
    refused: str | None = None  # why the engine does not decode this file

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def is_below(self, min_psnr_db: float) -> bool:
        """Whether something is wrong with what the engine gave, or its pixels are further off than allowed."""
        if self.refused or self.min_psnr_db is None:
            return False
        is_wrong = self.missing or self.time_s or self.sound_offset or self.same != FRAMES
        return bool(is_wrong) or (self.sound or 0) > SOUND_ERROR or self.min_psnr_db < min_psnr_db


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two arrays of 8-bit values of one shape; 99 for equal ones."""
    error = np.square(a.astype(np.float32) - b).mean(dtype=np.float64)
    return 99.0 if error < 255**2 / 10**9.9 else float(10 * np.log10(255**2 / error))


def engines() -> tuple[list[Engine], dict[str, str]]:
    """Those beside PyAV that this machine has, and why it lacks the others, by their names."""
    found, lacking = [], {}
    for name in ("torchcodec", "dali"):
        try:
            found.append(build(name))
        except MachineError as error:
            lacking[name] = f"{error.message}: {error.hint}"
    return found, lacking


def compare(path: Path, engines: list[Engine]) -> list[Parity]:
    """PyAV's own row, and every engine on one file. MediaError where PyAV does not decode it."""
    with Media(path) as media:
        for _ in media.scan():
            pass
        return [_own(media), *(_compare(media, engine) for engine in engines)]


def _own(media: Media) -> Parity:
    """How fast PyAV reads the frames that are compared, from the file."""
    chosen, size = _chosen(media)
    start = time.perf_counter()
    with open_media(media.path) as file:
        stream = tracks(file)[0]
        assert stream.time_base is not None
        wanted = sorted({round(media.scanned.times[index] / stream.time_base) for index in chosen.tolist()})
        fit = Fit(size, media.probe.pixel_aspect, media.scanned.rotation)
        num_frames = sum(len(fit(frame)) > 0 for frame in frames_at(file, stream, wanted))
    fps = num_frames / (time.perf_counter() - start)
    return Parity(media.path.name, "pyav", frames=len(media.scanned.times), fps=fps)


def _compare(media: Media, engine: Engine) -> Parity:
    try:
        return _measure(media, engine)
    except EngineError as error:
        return Parity(media.path.name, engine.name, refused=str(error))


def _measure(media: Media, engine: Engine) -> Parity:
    times = np.array(media.scanned.times)
    chosen, size = _chosen(media)
    expected, shown = media.read(times[chosen], size)
    count = engine.count(media)
    start = time.perf_counter()
    frames, given = engine.read(media, times[chosen], size)
    seconds = time.perf_counter() - start
    psnr = [psnr_db(a, b) for a, b in zip(frames, expected, strict=True)]
    difference, offset = _compare_sound(media, engine)
    return Parity(
        file=media.path.name,
        engine=engine.name,
        frames=count,
        missing=len(times) - count,
        time_s=_rounded(np.abs(given - shown).max()),
        same=_num_same(media, frames, chosen, size),
        min_psnr_db=min(psnr),
        median_psnr_db=float(np.median(psnr)),
        sound=difference,
        sound_offset=offset,
        fps=len(chosen) / seconds,
    )


def _chosen(media: Media) -> tuple[np.ndarray, tuple[int, int]]:
    """Which frames are compared (FRAMES,), and at what size."""
    short, long = SIZE
    size = (short, long) if media.probe.width >= media.probe.height else (long, short)
    return np.linspace(0, len(media.scanned.times) - 1, FRAMES).round().astype(int), size


def _num_same(media: Media, frames: np.ndarray, chosen: np.ndarray, size: tuple[int, int]) -> int:
    """Frames that no neighbour of PyAV's frame resembles clearly more than that frame itself."""
    times = np.array(media.scanned.times)
    around = np.clip(chosen[:, None] + np.array([-1, 0, 1]), 0, len(times) - 1)  # FRAMES 3
    known = media.read(times[around.reshape(-1)], size)[0].reshape(*around.shape, *frames.shape[1:])
    likeness = np.array([[psnr_db(a, b) for b in row] for a, row in zip(frames, known, strict=True)])
    return int((likeness[:, 1] >= likeness.max(axis=1) - _DOUBT_DB).sum())


def _compare_sound(media: Media, engine: Engine) -> tuple[float | None, int | None]:
    """Largest difference of samples, and by how many samples the engine's sound is late."""
    if not media.scanned.num_audio_frames:
        return None, None
    span = media.scanned.video_start_s, media.scanned.video_start_s + SOUND_S
    expected, given = media.sound(*span), engine.sound(media, *span)
    if expected.rate != given.rate or expected.samples.shape[1] != given.samples.shape[1]:
        return 1.0, None
    shift = round((given.start_s - expected.start_s) * expected.rate)  # of the engine's first sample, by its stamp
    a, b = (expected.samples[shift:], given.samples) if shift >= 0 else (expected.samples, given.samples[-shift:])
    length = min(len(a), len(b))
    lag = _lag(a[:length, 0], b[:length, 0])
    a, b = (a[: length - lag], b[lag:length]) if lag >= 0 else (a[-lag:length], b[: length + lag])
    return float(np.abs(a - b).max(initial=0)), lag


def _lag(a: np.ndarray, b: np.ndarray) -> int:
    """By how many samples `b` comes later than `a` (n,): where their correlation is largest, zero if that is zero."""
    reach = min(_LAG, len(a) - 1)
    size = 1 << (2 * len(a)).bit_length()
    spectrum = np.conj(np.fft.rfft(a, size)) * np.fft.rfft(b, size)
    product = np.fft.irfft(spectrum, size)
    around = np.concatenate([product[-reach:], product[: reach + 1]]) if reach else product[:1]
    best = int(around.argmax())
    return 0 if around[best] <= around[reach] * (1 + 1e-6) else best - reach


def _rounded(seconds: float) -> float:
    """Zero below what time stamps can tell."""
    return round(float(seconds), 6)
