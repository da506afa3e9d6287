"""Looks a file over without decoding it all: its keyframes, its sound, and when each of its frames is shown.

A keyframe decodes without any other frame, and a packet says when its frame is shown, so that a survey of a film costs
a tenth of a scan; where every frame is a keyframe, as much. The loop filter is skipped, which changes pixels a little:
they are good enough to look at, and never become clips.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from avctl.media.audio import sound_of
from avctl.media.decode import Media
from avctl.media.probe import one_thread, open_media, tracks
from avctl.media.scan import Scan

_FRAME_A_PACKET = ("h264", "hevc", "vp9", "av1", "mjpeg", "prores", "dnxhd", "ffv1")  # one for each frame shown
_STAMPED = {"mp4", "matroska", "mpegts"}  # containers that say of every packet when it is shown


class Unsurveyable(Exception):
    """The packets of the file do not say when each frame is shown: it has to be scanned."""


def survey(media: Media) -> Iterator[av.VideoFrame]:
    """Every keyframe once, as coded; at the end `media.scanned` is filled, as by `scan`, for the whole file.

    `damaged` counts keyframes and sound. Raises Unsurveyable, sometimes late.
    """
    if media.probe.video_codec not in _FRAME_A_PACKET or not _STAMPED & {*media.probe.container.split(",")}:
        raise Unsurveyable
    media.scanned = scanned = Scan()
    with open_media(media.path) as container:
        yield from _keyframes(container, scanned)
    scanned.times.sort()  # packets come in the order in which they are decoded


def _keyframes(container: InputContainer, scanned: Scan) -> Iterator[av.VideoFrame]:
    video, audio = tracks(container)
    both = (video, audio) if audio else (video,)
    one_thread(*both)
    video.codec_context.skip_frame = "NONKEY"
    video.codec_context.options = {"skip_loop_filter": "all"}
    is_first = True
    for packet in container.demux(*both):
        if isinstance(packet.stream, VideoStream):
            _note_time(packet, scanned)
            if not (packet.is_keyframe or packet.dts is None):
                continue
        for frame in _decoded(packet, scanned):
            if isinstance(frame, av.AudioFrame):
                if frame.pts is not None:
                    scanned.note_sound(sound_of(frame))
                continue
            if is_first:
                scanned.rotation, is_first = frame.rotation, False
            scanned.interlaced |= frame.interlaced_frame
            scanned.sizes.add((frame.height, frame.width))
            if frame.pts is not None:
                yield frame


def _note_time(packet: Packet, scanned: Scan) -> None:
    """When the frame of this packet is shown; the last packet is empty, and edit lists hide some."""
    if not packet.size or packet.is_discard:
        return
    if packet.pts is None:
        raise Unsurveyable
    scanned.damaged += packet.is_corrupt
    scanned.times.append(float(packet.pts * packet.time_base))


def _decoded(packet: Packet, scanned: Scan) -> list:
    try:
        frames = packet.decode()
    except av.error.MemoryError:
        raise  # the worker's limit
    except av.error.FFmpegError:
        scanned.damaged += 1
        return []
    scanned.damaged += sum(frame.is_corrupt for frame in frames if isinstance(frame, av.VideoFrame | av.AudioFrame))
    return frames
