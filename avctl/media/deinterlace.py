"""Two fields woven into one frame become one picture again."""

from __future__ import annotations

from collections.abc import Iterator

import av
import av.error
from av.filter import Graph
from av.video.stream import VideoStream


class Deinterlacer:
    """FFmpeg's `bwdif`, from the first interlaced frame on: as many frames out as in; those not marked as interlaced
    pass unchanged."""

    def __init__(self, stream: VideoStream):
        self._stream = stream
        self._graph: Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Frames that are ready, which come one behind."""
        if self._graph is None and frame.interlaced_frame:
            self._graph = _bwdif(self._stream)
        if self._graph is None:
            yield frame
        else:
            self._graph.vpush(frame)
            yield from _ready(self._graph)

    def rest(self) -> Iterator[av.VideoFrame]:
        """The last ones."""
        if self._graph:
            self._graph.vpush(None)
            yield from _ready(self._graph)


def _bwdif(stream: VideoStream) -> Graph:
    graph = Graph()
    source = graph.add_buffer(template=stream)
    bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    source.link_to(bwdif)
    bwdif.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _ready(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
