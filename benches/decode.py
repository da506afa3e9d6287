"""What decoding costs on one processor thread, against the libraries that people use: processor and wall time a clip.

Sixteen frames spread over ten seconds of 720p at 256x448 (keyframes 250 and 50 frames apart), every frame, and the
keyframes alone. The footage is ten seconds here and there of Big Buck Bunny, which comes inside a package; each clip is
decoded by everybody in turn, round after round, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from avctl.media.fit import Fit, Luma
from avctl.media.probe import open_media, tracks
from avctl.media.sparse import frames_at, stamps
from benches.film import SECONDS, clips
from benches.frame import Row, children_s

COMMAND = "python -m benches decode"
SIZE = (256, 448)
COUNT = 16  # frames of a clip
ROUNDS = 3

Read = Callable[[Path], np.ndarray]  # a file to its frames (COUNT, H, W, 3)


def rows() -> Iterator[Row]:
    for gop in (250, 50):
        files = clips(gop)
        yield from _race(f"{COUNT} of {SECONDS} s of 720p, keyframes every {gop}", files, _spread_readers(files[0]))
    yield from _rates(clips(250))


def processor_and_wall(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of this process and its finished children, and of the clock."""
    before, start = _processor_s(), time.perf_counter()
    work()
    return _processor_s() - before, time.perf_counter() - start


def _race(what: str, files: list[Path], readers: dict[str, Read]) -> Iterator[Row]:
    """Rounds in which every reader reads one file after the other; the first one warms up."""
    spent: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(1 + ROUNDS):
        for file in files:
            for name, read in readers.items():
                spent[name].append(processor_and_wall(partial(read, file)))
    for name in readers:
        processor, wall = zip(*spent[name][len(files) :], strict=True)
        yield Row("decode", f"{what}: {name}", "s of processor a clip", COMMAND, processor)
        yield Row("decode", f"{what}: {name}", "s a clip", COMMAND, wall)


def _rates(files: list[Path]) -> Iterator[Row]:
    """Hours of video that one core gets through in an hour of processor time."""
    for name, read in {"every frame, resized": _every_frame, "keyframes, luma alone": _keyframes}.items():
        spent = [processor_and_wall(partial(read, file))[0] for _ in range(ROUNDS) for file in files]
        rates = tuple(SECONDS / seconds for seconds in spent)
        yield Row("decode", f"720p: {name}", "h of video a core-hour", COMMAND, rates)


def _spread_readers(file: Path) -> dict[str, Read]:
    """Every way to read sixteen frames that this machine has; ours is checked against a whole decode."""
    cv2.setNumThreads(1)
    assert np.array_equal(spread(file), _pyav(file)), "the frames are not those of a whole decode"
    readers = {"avctl": spread, "PyAV, all the way through": _pyav}
    readers |= {"OpenCV, a seek a frame": _opencv_seek, "OpenCV, all the way through": _opencv_grab}
    optional = {"decord": ("decord", _decord), "ffmpeg pipe": ("imageio_ffmpeg", _ffmpeg)}
    optional |= {f"torchcodec, {mode}": ("torchcodec.decoders", _torchcodec(mode)) for mode in ("exact", "approximate")}
    for name, (package, read) in optional.items():
        try:
            import_module(package)
        except (ImportError, RuntimeError) as error:
            print(f"not raced: {name}, {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        readers[name] = read
    return readers


def spread(file: Path, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frames (COUNT, H, W, 3) as avctl reads them."""
    with open_media(file) as container:
        stream = _one_thread(tracks(container)[0])
        times = stamps(container, stream)
        places = {times[index]: k for k, index in enumerate(_spread(len(times)))}
        frames, fit = np.empty((COUNT, *size, 3), np.uint8), Fit(size, 1.0, 0)
        for frame in frames_at(container, stream, list(places)):
            frames[places[frame.pts or 0]] = fit(frame)
        return frames


def _pyav(file: Path) -> np.ndarray:
    with av.open(str(file)) as container:
        stream = _one_thread(container.streams.video[0])
        fit, wanted = Fit(SIZE, 1.0, 0), set(_spread(stream.frames))
        return np.stack([fit(frame) for k, frame in enumerate(container.decode(stream)) if k in wanted])


def _opencv_seek(file: Path) -> np.ndarray:
    capture = _opencv(file)
    frames = []
    for index in _spread(int(capture.get(cv2.CAP_PROP_FRAME_COUNT))):
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        frames.append(_resized(capture.read()[1]))
    return np.stack(frames)


def _opencv_grab(file: Path) -> np.ndarray:
    capture = _opencv(file)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(_spread(count))
    return np.stack([_resized(capture.retrieve()[1]) for k in range(count) if capture.grab() and k in wanted])


def _decord(file: Path) -> np.ndarray:
    decord = import_module("decord")
    reader = decord.VideoReader(str(file), ctx=decord.cpu(0), width=SIZE[1], height=SIZE[0], num_threads=1)
    return reader.get_batch(_spread(len(reader))).asnumpy()


def _torchcodec(mode: str) -> Read:
    def read(file: Path) -> np.ndarray:
        decoders, resize = import_module("torchcodec.decoders"), import_module("torchcodec.transforms").Resize(SIZE)
        decoder = decoders.VideoDecoder(
            file, seek_mode=mode, num_ffmpeg_threads=1, dimension_order="NHWC", transforms=[resize]
        )
        return decoder.get_frames_at(_spread(len(decoder))).data.numpy()

    return read


def _ffmpeg(file: Path) -> np.ndarray:
    picks = "+".join(f"eq(n\\,{index})" for index in _spread(SECONDS * 24))
    filters = f"select={picks},scale={SIZE[1]}:{SIZE[0]}:flags=area"
    program = import_module("imageio_ffmpeg").get_ffmpeg_exe()
    ends = ["-vf", filters, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    command = [program, "-v", "error", "-threads", "1", "-filter_threads", "1", "-i", file, *ends]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8).reshape(
        COUNT, *SIZE, 3
    )


def _every_frame(file: Path) -> None:
    with open_media(file) as container:
        fit = Fit(SIZE, 1.0, 0)
        for frame in container.decode(_one_thread(tracks(container)[0])):
            fit(frame)


def _keyframes(file: Path) -> None:
    """As an analysis may read them: without the loop filter, which moves no edge and costs a third."""
    with open_media(file) as container:
        stream, luma = _one_thread(tracks(container)[0]), Luma(360)
        stream.codec_context.skip_frame = "NONKEY"
        stream.codec_context.options = {"skip_loop_filter": "all"}
        for frame in container.decode(stream):
            luma(frame)


def _spread(count: int) -> list[int]:
    return np.linspace(0, count - 1, COUNT).round().astype(int).tolist()


def _one_thread(stream: VideoStream) -> VideoStream:
    stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
    return stream


def _opencv(file: Path) -> cv2.VideoCapture:
    return cv2.VideoCapture(str(file), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def _resized(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def _processor_s() -> float:
    return time.process_time() + children_s()
