"""Given frames of a stream, bit for bit as a whole decode gives them, with as little decoding as that takes.

Nothing is decoded between the last wanted frame of a group of pictures and the keyframe that the next one needs.
Pictures that no other refers to are decoded only if they are wanted themselves. Over long gaps the container seeks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

SEEK_S = 10.0  # gaps longer than this are sought over; packets of shorter ones are read and dropped, which is cheap
HOLD_BYTES = 64 * 2**20  # packets kept back until it is known whether they are needed
_SEEK_BACK_S = (0.0, 2.0, 10.0)  # a transport stream is sought by time alone, and may come out behind the keyframe
# Where FFmpeg drops, by `skip_frame`, pictures that nothing refers to. In HEVC, layers above may refer to them.
_DROPS = ("h264", "mpeg1video", "mpeg2video", "mpeg4", "vp8", "vp9")


@dataclass(frozen=True)
class Run:
    """Packets in the order of decoding. One that `restarts` begins with a keyframe and follows a gap."""

    packets: list[Packet]
    restarts: bool


def stamps(container: InputContainer, stream: VideoStream) -> list[int]:
    """Presentation stamps of all frames, in order, in ticks of the stream, from the packets alone: nothing is decoded.

    Frames that an edit list cuts off are left out. Leaves the container at its end.
    """
    packets = container.demux(stream)
    return sorted(packet.pts for packet in packets if packet.pts is not None and packet.size and not packet.is_discard)


def frames_at(container: InputContainer, stream: VideoStream, wanted: Sequence[int]) -> Iterator[av.VideoFrame]:
    """The frames with these presentation stamps (ascending, in ticks of the stream), in the order of decoding.

    A frame that this pass does not bring, because the container sought too far or the decoder withheld it, is taken
    from a decode of the whole stream; one that does not come there either is left out.
    """
    missing = set(wanted)
    for frame in _decode(stream, needed(container, stream, wanted), frozenset(wanted)):
        if frame.pts in missing:
            missing.remove(frame.pts)
            yield frame
    if missing:
        yield from _from_the_start(container, stream, missing)


def needed(container: InputContainer, stream: VideoStream, wanted: Sequence[int]) -> Iterator[Run]:
    """The packets that the frames with these stamps need: from a keyframe not later than each, up to its own."""
    assert stream.time_base is not None
    unsent, first = set(wanted), 0  # `wanted[first]` is the earliest that has not been sent
    held: list[Packet] = []
    num_bytes = 0  # of `held`
    restarts = True
    packets = _from(container, stream, wanted[0])
    while (packet := next(packets, None)) is not None:
        if packet.is_keyframe and packet.pts is not None and packet.pts <= wanted[first]:
            restarts = restarts or bool(held)
            held, num_bytes = [], 0
        held.append(packet)
        num_bytes += packet.size
        if packet.pts not in unsent and num_bytes < HOLD_BYTES:
            continue
        yield Run(held, restarts)
        held, num_bytes, restarts = [], 0, False
        unsent.discard(packet.pts)
        if not unsent:
            return
        before = first
        while wanted[first] not in unsent:
            first += 1
        if first != before and (wanted[first] - wanted[before]) * stream.time_base > SEEK_S:
            packets, restarts = _from(container, stream, wanted[first]), True
    if held:
        yield Run(held, restarts)


def _from(container: InputContainer, stream: VideoStream, stamp: int) -> Iterator[Packet]:
    """Packets from a keyframe not later than `stamp` on; from the first where seeking finds none."""
    assert stream.time_base is not None
    for back_s in _SEEK_BACK_S:
        packets = _sought(container, stream, stamp - round(back_s / stream.time_base))
        first = next((packet for packet in packets if packet.is_keyframe), None)
        if first is not None and first.pts is not None and first.pts <= stamp:
            return chain([first], packets)
    return _all(container, stream)


def _all(container: InputContainer, stream: VideoStream) -> Iterator[Packet]:
    """Every packet. Some containers start before the time that they state, and some before zero."""
    assert stream.time_base is not None
    return _sought(container, stream, min(stream.start_time or 0, 0) - round(10 / stream.time_base))


def _sought(container: InputContainer, stream: VideoStream, stamp: int) -> Iterator[Packet]:
    try:
        container.seek(stamp, stream=stream, backward=True)
    except av.error.FFmpegError:  # AVI knows no times before zero
        container.seek(max(stamp, 0), stream=stream, backward=True)
    return (packet for packet in container.demux(stream) if packet.size)


def _decode(stream: VideoStream, runs: Iterator[Run], wanted: frozenset[int]) -> Iterator[av.VideoFrame]:
    context = stream.codec_context
    drops = context.name in _DROPS
    try:
        for number, run in enumerate(runs):
            if run.restarts and number:
                yield from _rest(stream)
                context.flush_buffers()
            for packet in run.packets:
                can_drop = drops and packet.pts is not None and packet.pts not in wanted
                context.skip_frame = "NONREF" if can_drop else "DEFAULT"
                yield from _frames_of(packet)
        yield from _rest(stream)
    finally:
        context.skip_frame = "DEFAULT"


def _from_the_start(container: InputContainer, stream: VideoStream, missing: set[int]) -> Iterator[av.VideoFrame]:
    for packet in _all(container, stream):
        for frame in _frames_of(packet):
            if frame.pts in missing:
                missing.remove(frame.pts)
                yield frame
        if not missing:
            return
    yield from (frame for frame in _rest(stream) if frame.pts in missing)


def _frames_of(packet: Packet) -> list[av.VideoFrame]:
    """None where the packet is damaged: its frame will be missing."""
    try:
        return packet.decode()  # pyright: ignore[reportReturnType]
    except av.error.MemoryError:
        raise  # the worker's limit
    except av.error.FFmpegError:
        return []


def _rest(stream: VideoStream) -> Iterator[av.VideoFrame]:
    """What the decoder still holds back; it must be flushed before it gets more."""
    for frame in stream.codec_context.decode(None):
        frame.time_base = stream.time_base  # a decoder by itself does not know it
        yield frame
