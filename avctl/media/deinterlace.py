"""Two fields woven into one frame become one picture again."""

from __future__ import annotations

from collections.abc import Iterator

import av
import av.error
from av.filter import Graph
from av.video.stream import VideoStream


class Deinterlacer:
    """FFmpeg's `bwdif`: as many frames out as in; those not marked as interlaced pass unchanged."""

    def __init__(self, stream: VideoStream):
        self._graph = Graph()
        source = self._graph.add_buffer(template=stream)
        bwdif = self._graph.add("bwdif", "mode=send_frame:deint=interlaced")
        source.link_to(bwdif)
        bwdif.link_to(self._graph.add("buffersink"))
        self._graph.configure()

    def __call__(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Frames that are ready, which come one behind."""
        self._graph.vpush(frame)
        yield from self._ready()

    def rest(self) -> Iterator[av.VideoFrame]:
        """The last ones."""
        self._graph.vpush(None)
        yield from self._ready()

    def _ready(self) -> Iterator[av.VideoFrame]:
        while True:
            try:
                yield self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
