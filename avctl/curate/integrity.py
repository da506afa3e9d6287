"""Whether a source is whole: both tracks there, beginning and ending together, every packet decodable, not silent."""

from __future__ import annotations

from itertools import pairwise

from avctl.media.decode import Media
from avctl.media.probe import MediaError
from avctl.schema import Integrity

SILENT_PEAK = 1e-4  # of full scale, -80 dBFS: below it a track is a placeholder


def audit(media: Media, integrity: Integrity) -> None:
    """Judge what a scan or a survey measured. MediaError with the reason class of the first violation. Sound that is
    not needed and says nothing is forgotten."""
    scan = media.scanned
    if not scan.times:
        raise MediaError("no_video", "no frame decodes")
    if integrity.needs_sound and not scan.has_sound:
        raise MediaError("no_audio", "no sound decodes")
    if len(scan.times) == 1:
        raise MediaError("one_frame", "the picture is a single frame")
    if min(end - begin for begin, end in pairwise(scan.times)) <= 0:
        raise MediaError("out_of_order", "frames are shown out of order: the container does not say when")
    audit_damage(media, integrity)
    _audit_ends(media, integrity)
    if scan.has_sound and scan.peak < SILENT_PEAK:
        if integrity.needs_sound:
            raise MediaError("silent_audio", f"the sound never exceeds {scan.peak:.1e} of full scale")
        scan.forget_sound()
    if not scan.has_sound:
        return
    offset = scan.audio_start_s - scan.video_start_s
    if abs(offset) > integrity.max_start_offset_s:
        raise MediaError("start_offset", f"the sound starts {offset:+.3f} s from the picture")
    if scan.gap_s > integrity.max_gap_s:
        raise MediaError("sound_gap", f"{scan.gap_s:.3f} s are missing inside the sound")
    drift = sound_end(media) - scan.video_end_s
    if abs(drift) > integrity.max_drift_s:
        raise MediaError("drift", f"the sound ends {drift:+.3f} s from the picture")


def audit_damage(media: Media, integrity: Integrity) -> None:
    """Judge what did not decode so far. MediaError: `damaged`."""
    if media.scanned.damaged > integrity.max_damaged:
        raise MediaError("damaged", f"{media.scanned.damaged} packets do not decode cleanly")


def sound_end(media: Media) -> float:
    """Where the sound ends: where the track says so, because an encoder fills its last packet; else where it does."""
    declared, decoded = media.probe.audio_end_s, media.scanned.audio_end_s
    return decoded if declared is None else min(declared, decoded)


def _audit_ends(media: Media, integrity: Integrity) -> None:
    """A file that breaks off: its headers promise more than decodes.

    Headers of mp4 count every frame; other containers round, or estimate from the bit rate, and get a second.
    """
    exact = "mp4" in media.probe.container
    scan, probe = media.scanned, media.probe
    claims = [(probe.video_end_s, scan.video_end_s), (probe.audio_end_s, scan.audio_end_s)]
    if probe.video_end_s is None and probe.audio_end_s is None:
        claims = [(probe.end_s, max(scan.video_end_s, scan.audio_end_s))]
    for claimed, found in claims:
        if claimed is not None and claimed - found > max(2 * scan.interval_s, integrity.max_drift_s if exact else 1.0):
            raise MediaError("truncated", f"{claimed:.3f} s are announced and {found:.3f} s decode")
