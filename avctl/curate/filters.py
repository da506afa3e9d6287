"""Row A2 of the plan: what each clip scores, and which threshold drops it. Every score is stored, used or not."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

from avctl.curate.shots import Pictures
from avctl.media.audio import Sound, power_db
from avctl.media.decode import Media
from avctl.media.pick import TICK
from avctl.media.scan import Scan
from avctl.schema import Filters

CUTS_WITHIN_S = 10.0  # around a clip; a clip itself never spans a cut
SILENCE_DB = -60.0  # relative to full scale
_FULL_SCALE = 0.999  # decoded sound that was clipped before encoding lands about here


@dataclass(frozen=True)
class Scores:
    """One clip. Heights and rates are the source's; scores of sound are None where there is none."""

    height: float  # pixels, upright
    fps: float
    sharpness: float  # median over its frames of the variance of the Laplacian
    cuts_per_s: float | None  # of the source, in the ten seconds around; None: nobody looked for shots
    snr_db: float | None  # loud windows over quiet ones
    silence: float | None  # share of 20-ms windows below -60 dBFS
    clipping: float | None  # share of samples at full scale
    loudness_db: float | None  # mean power relative to full scale

    def plain(self) -> dict[str, float | None]:
        return asdict(self)


NAMES = tuple(field.name for field in fields(Scores))


def score(media: Media, pictures: Pictures, sound: Sound | None, start_s: float, seconds: float) -> Scores:
    """Scores of the clip that begins at `start_s`; `sound` is the source's own sound of (at least) this span."""
    first, last = np.searchsorted(pictures.times, [start_s - TICK, start_s + seconds - TICK])
    return Scores(
        height=upright_size(media)[0],
        fps=round(media.scanned.fps, 6),
        sharpness=float(np.median(pictures.sharpness[first:last])),
        cuts_per_s=_cuts_per_s(pictures, media.scanned, start_s + seconds / 2),
        **_score_sound(sound, start_s, seconds),
    )


def judge(scores: Scores, filters: Filters) -> str | None:
    """The first filter that drops the clip, in the order of their cost, or None."""
    tests = {
        "height": _below(scores.height, filters.min_height),
        "fps": _below(scores.fps, filters.min_fps and filters.min_fps - 1e-3),  # 24 fps may be stored as 23.99999
        "blur": _below(scores.sharpness, filters.min_sharpness),
        "cuts": _above(scores.cuts_per_s, filters.max_cuts_per_s),
        "silence": _above(scores.silence, filters.max_silence),
        "clipping": _above(scores.clipping, filters.max_clipping),
        "snr": _below(scores.snr_db, filters.min_snr_db),
    }
    return next((reason for reason, drops in tests.items() if drops), None)


def upright_size(media: Media) -> tuple[float, float]:
    """Height and width of the picture as it is shown, in lines and columns of square pixels as high as its own."""
    probe = media.probe
    height, width = probe.height, probe.width * probe.pixel_aspect
    return (width, height) if media.scanned.rotation % 180 else (height, width)


def _score_sound(sound: Sound | None, start_s: float, seconds: float) -> dict[str, float | None]:
    if sound is None:
        return dict.fromkeys(("snr_db", "silence", "clipping", "loudness_db"))
    samples = _inside(sound, start_s, seconds)
    power = power_db(samples, sound.rate)
    quiet, loud = np.percentile(power, [10, 90])
    return {
        "snr_db": float(loud - quiet),
        "silence": float(np.mean(power < SILENCE_DB)),
        "clipping": float(np.mean(np.abs(samples) >= _FULL_SCALE)),
        "loudness_db": float(10 * np.log10(max(1e-12, np.square(samples).mean()))),
    }


def _inside(sound: Sound, start_s: float, seconds: float) -> np.ndarray:
    first = max(0, round((start_s - sound.start_s) * sound.rate))
    return sound.samples[first : first + round(seconds * sound.rate)]


def _cuts_per_s(pictures: Pictures, scan: Scan, middle_s: float) -> float | None:
    if pictures.cuts_s is None:
        return None
    low, high = max(scan.times[0], middle_s - CUTS_WITHIN_S / 2), min(scan.times[-1], middle_s + CUTS_WITHIN_S / 2)
    return float(((pictures.cuts_s >= low) & (pictures.cuts_s <= high)).sum() / max(high - low, 1e-3))


def _below(value: float | None, threshold: float | None) -> bool:
    return value is not None and threshold is not None and value < threshold


def _above(value: float | None, threshold: float | None) -> bool:
    return value is not None and threshold is not None and value > threshold
