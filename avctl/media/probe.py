"""Opens a media file that nobody vouches for, and says what its headers claim.

Only containers that hold sound and picture themselves are opened, and only through the `file` protocol: a playlist, a
concat script or an image sequence could name other files, and FFmpeg would read them. What a file *does* is measured
by decoding it (`decode.py`); what it claims is used only to notice that something is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "flv", "ogg", "mpeg", "mpegts", "mpegvideo"),
    *("asf", "mxf", "nut", "rm", "dv", "gxf", "ivf", "h264", "hevc", "obu", "wav", "mp3", "aac", "flac", "aiff", "w64"),
)
_HDR = {16: "PQ", 18: "HLG"}  # transfer functions by their number in ITU-T H.273
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}


class MediaError(Exception):
    """A file that cannot be used. `reason` is a class that reports count; `detail` is one sentence without paths."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Probe:
    """What the headers claim; times in seconds on the presentation clock, None where the container says nothing."""

    container: str
    video_codec: str
    width: int  # as coded: before rotation and with pixels that may not be square
    height: int
    pixel_format: str
    bits: int  # a colour component
    pixel_aspect: float  # width of a pixel over its height
    audio_codec: str | None  # None, as the rate and the channels: the file has no sound track
    sample_rate: int | None  # Hz
    channels: int | None
    video_end_s: float | None
    audio_end_s: float | None
    end_s: float | None  # of the file as a whole
    length_s: float | None  # from its start on, which need not be zero


def open_media(path: Path) -> InputContainer:
    """The file, open and its headers read.

    MediaError: `missing`, `unreadable`, `empty`, `not_media`, `truncated`, `refused`.
    """
    _check_file(path)
    try:
        return av.open(f"file:{path.absolute()}", options=_OPTIONS, metadata_errors="replace")
    except av.error.InvalidDataError as error:
        raise _not_media(path) from error
    except av.error.MemoryError:
        raise  # the worker's limit, not the file's fault
    except av.error.FFmpegError as error:
        raise MediaError("refused", f"FFmpeg: {error.strerror}; only ordinary media containers are opened") from error


def tracks(container: InputContainer) -> tuple[VideoStream, AudioStream | None]:
    """`video_track` and `audio_track`."""
    return video_track(container), audio_track(container)


def video_track(container: InputContainer) -> VideoStream:
    """The first that moves. MediaError: `no_video`, `unsupported`, `hdr`."""
    video = next((stream for stream in container.streams.video if not _is_cover(stream)), None)
    if video is None:
        raise MediaError("no_video", "the file has no moving picture")
    _refuse_unknown(video)
    _refuse_hdr(video)
    return video


def audio_track(container: InputContainer) -> AudioStream | None:
    """The first, if there is one. MediaError: `unsupported`."""
    audio = next(iter(container.streams.audio), None)
    if audio:
        _refuse_unknown(audio)
    return audio


def one_thread(*streams: VideoStream | AudioStream) -> None:
    """Decode them without threads: one process a core is faster than several threads that wait for each other."""
    for stream in streams:
        stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1


def probe(container: InputContainer, video: VideoStream, audio: AudioStream | None) -> Probe:
    """What the headers claim about the two tracks."""
    picture, sound = video.codec_context, audio.codec_context if audio else None
    components = picture.format.components if picture.format else ()
    return Probe(
        container=container.format.name,
        video_codec=picture.name,
        width=picture.width,
        height=picture.height,
        pixel_format=picture.format.name if picture.format else "unknown",
        bits=max((component.bits for component in components), default=8),
        pixel_aspect=float(video.sample_aspect_ratio or picture.sample_aspect_ratio or 1),
        audio_codec=sound.name if sound else None,
        sample_rate=sound.sample_rate if sound else None,
        channels=sound.channels if sound else None,
        video_end_s=_end(video),
        audio_end_s=_end(audio) if audio else None,
        end_s=_file_end(container),
        length_s=_file_length(container),
    )


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError("empty", "the file has no bytes")
    except FileNotFoundError as error:
        raise MediaError("missing", "the file is not there") from error
    except OSError as error:
        raise MediaError("unreadable", error.strerror or "the file cannot be read") from error


def _not_media(path: Path) -> MediaError:
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return MediaError("truncated", "an mp4 whose index (moov) is missing or cut off")
    return MediaError("not_media", "the bytes are not a media container")


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def _refuse_unknown(stream: VideoStream | AudioStream) -> None:
    if stream.codec_context is None:
        raise MediaError("unsupported", f"the {stream.type} track has a codec that FFmpeg cannot decode")


def _refuse_hdr(video: VideoStream) -> None:
    """MediaError `hdr` for a picture whose levels mean another light: read as ordinary ones they look flat."""
    transfer = _HDR.get(int(video.codec_context.color_trc))
    if transfer:
        raise MediaError("hdr", f"the picture is coded in {transfer}, and nothing here maps its tones")


def _file_end(container: InputContainer) -> float | None:
    length_s = _file_length(container)
    return None if length_s is None else (container.start_time or 0) / 1e6 + length_s


def _file_length(container: InputContainer) -> float | None:
    """Matroska states when the file ends, others how long it lasts."""
    if not container.duration:
        return None
    before = container.start_time or 0 if "matroska" in container.format.name else 0
    return (container.duration - before) / 1e6


def _end(stream: VideoStream | AudioStream) -> float | None:
    if stream.duration is None or stream.time_base is None:
        return None
    return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
