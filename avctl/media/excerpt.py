"""A small file in memory that holds what some frames of a large one need, for decoders that take files as a whole.

Packets are copied as they are. Of H.264, pictures that no other refers to are left out where nobody asks for them,
which is half of what x264 makes: a decoder that takes every picture (NVDEC) has half the work.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from avctl.media.probe import open_media, tracks
from avctl.media.sparse import needed

_TICK = Fraction(1, 25)
_SLICES = (1, 2, 5)  # types of H.264's NAL units (ITU-T H.264, table 7-1) that hold pictures


@dataclass(frozen=True)
class Excerpt:
    data: np.ndarray  # (bytes,) uint8: an mp4, or a Matroska file of what has no place in one
    indices: np.ndarray  # (T,) int32: where in it the frames are that were asked for, in the order of their times
    matrix: int  # of the colours, by its number in ITU-T H.273; 2 where the file does not say


def excerpts(path: Path, times_s: list[float]) -> list[Excerpt]:
    """Of the frames presented at these times (ascending), one excerpt for every stretch that is decoded in one go.

    ValueError where the packets do not say when they are shown.
    """
    with open_media(path) as file:
        video = tracks(file)[0]
        assert video.time_base is not None
        wanted = [round(time_s / video.time_base) for time_s in times_s]
        made = [_excerpt(video, packets, wanted) for packets in _stretches(file, video, wanted)]
    if sum(len(each.indices) for each in made) < len(wanted):
        raise ValueError("the packets do not say when they are shown")
    return made


def _stretches(file: InputContainer, video: VideoStream, wanted: list[int]) -> Iterator[list[Packet]]:
    """Packets from a keyframe on, without gaps that matter.

    Without pictures of an open group, too, that are shown before its keyframe: what they refer to is not there.
    """
    packets: list[Packet] = []
    for run in needed(file, video, wanted):
        if run.restarts and packets:
            yield packets
            packets = []
        begin = (packets or run.packets)[0].pts or 0
        for packet in run.packets:
            is_leading = packet.pts is not None and packet.pts < begin
            if packet.pts in wanted or not (is_leading or is_droppable(packet, video)):
                packets.append(packet)
    yield packets


def _excerpt(video: VideoStream, packets: list[Packet], wanted: list[int]) -> Excerpt:
    stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
    if len(stamps) < len(packets):
        raise ValueError("the packets do not say when they are shown")
    ranks = {stamp: rank for rank, stamp in enumerate(stamps)}
    data = _write(video, packets, [ranks[packet.pts or 0] for packet in packets])
    indices = np.array([ranks[stamp] for stamp in wanted if stamp in ranks], np.int32)
    return Excerpt(data, indices, int(video.codec_context.colorspace))


def is_droppable(packet: Packet, video: VideoStream) -> bool:
    """Whether no other picture refers to this one, as far as it can be told: H.264 says so in every slice."""
    return video.codec_context.name == "h264" and _reference(bytes(packet), _length_bytes(video)) == 0


def _length_bytes(video: VideoStream) -> int:
    """Bytes of the length in front of each NAL unit (ISO 14496-15, 5.3.3); 0 where start codes divide them."""
    header = video.codec_context.extradata or b""
    return (header[4] & 3) + 1 if len(header) > 4 and header[0] == 1 else 0


def _reference(data: bytes, length_bytes: int) -> int | None:
    """`nal_ref_idc` of the first slice, None where none is found."""
    place = 0
    while place < len(data):
        if length_bytes:
            size = int.from_bytes(data[place : place + length_bytes])
            unit, place = place + length_bytes, place + length_bytes + size
        else:
            unit = data.find(b"\0\0\1", place) + 3
            place = unit
            if unit == 2:
                return None
        if unit < len(data) and data[unit] & 31 in _SLICES:
            return data[unit] >> 5 & 3
    return None


def _write(video: VideoStream, packets: list[Packet], ranks: list[int]) -> np.ndarray:
    """One frame a tick, because nothing else than the order counts, and some packets have no stamp of decoding."""
    delay = max(order - rank for order, rank in enumerate(ranks))
    kind, options = ("matroska", {}) if video.codec_context.name == "vp8" else ("mp4", {"use_editlist": "0"})
    memory = io.BytesIO()
    with av.open(memory, "w", format=kind, options=options) as target:
        stream = target.add_stream_from_template(video)
        stream.time_base = _TICK
        for order, (packet, rank) in enumerate(zip(packets, ranks, strict=True)):
            packet.stream, packet.time_base = stream, _TICK
            packet.dts, packet.pts, packet.duration = order, rank + delay, 1
            target.mux(packet)
    return np.frombuffer(memory.getvalue(), np.uint8)
