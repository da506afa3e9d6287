from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from avctl.crawl.sniff import HEAD, sniff

CONTAINERS = [
    ("mp4", "mpeg4", "video/mp4"), ("mov", "mpeg4", "video/quicktime"), ("webm", "vp8", "video/webm"),
    ("matroska", "mpeg4", "video/x-matroska"), ("avi", "mpeg4", "video/x-msvideo"),
    ("mpegts", "mpeg2video", "video/mp2t"), ("mpeg", "mpeg2video", "video/mpeg"), ("flv", "flv1", "video/x-flv"),
    ("3gp", "mpeg4", "video/3gpp"), ("asf", "mpeg4", "video/x-ms-asf"), ("wav", "pcm_s16le", "audio/wav"),
    ("flac", "flac", "audio/flac"), ("mp3", "libmp3lame", "audio/mpeg"), ("ogg", "vp8", "application/ogg"),
    ("adts", "aac", "audio/aac"), ("aiff", "pcm_s16be", "audio/aiff"), ("ipod", "aac", "audio/mp4"),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec", "media_type"), CONTAINERS)
def test_what_ffmpeg_writes_is_recognised(tmp_path: Path, container: str, codec: str, media_type: str) -> None:
    kind = sniff(_written(tmp_path / "named.txt", container, codec)[:HEAD])
    assert kind is not None and kind.media_type == media_type


@pytest.mark.parametrize("container", ["mpegts", "mp3"])
def test_streams_without_a_header_are_recognised(tmp_path: Path, container: str) -> None:
    codec = "mpeg2video" if container == "mpegts" else "libmp3lame"
    data = _written(tmp_path / "x", container, codec)
    if container == "mp3":
        data = data[data.index(b"\xff\xfb") :]  # behind the ID3 tag
    assert sniff(data[:HEAD]) is not None


@pytest.mark.parametrize(
    "head",
    [
        b"", b"\x00" * HEAD, b"GGGG" * 300, b"hello, this is no video\n" * 50, b"<!doctype html><title>x</title>",
        "a text that Windows wrote".encode("utf-16"), b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", b"%PDF-1.7",
        b"PK\x03\x04", b"GIF89a" + b"\x00" * 50, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00", b"\xff" * 64,
        b"ffconcat version 1.0\nfile /etc/passwd\n", b"MZ" + b"\x00" * 100,
    ],
)  # fmt: skip
def test_what_is_no_sound_or_film_is_not_taken_for_one(head: bytes) -> None:
    assert sniff(head) is None


def _written(path: Path, container: str, codec: str) -> bytes:
    """A second of nothing much in this container."""
    with av.open(str(path), "w", format=container) as file:
        if codec in ("mpeg4", "vp8", "mpeg2video", "flv1"):
            _add_picture(file, {"flv1": "flv", "vp8": "libvpx"}.get(codec, codec))
        else:
            _add_sound(file, codec)
    return path.read_bytes()


def _add_picture(file: OutputContainer, codec: str) -> None:
    stream = file.add_stream(codec, rate=25)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for shade in range(25):
        pixels = np.full((48, 64, 3), shade, np.uint8)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
    file.mux(stream.encode(None))


def _add_sound(file: OutputContainer, codec: str) -> None:
    stream = file.add_stream(codec, rate=44_100, layout="mono")
    assert isinstance(stream, AudioStream)
    is_integer = codec in ("pcm_s16le", "pcm_s16be", "flac")
    silence = np.zeros((1, 44_100), np.int16) if is_integer else np.zeros((1, 44_100), np.float32)
    frame = av.AudioFrame.from_ndarray(silence, "s16" if is_integer else "fltp", "mono")
    frame.sample_rate = 44_100
    file.mux(stream.encode(frame))
    file.mux(stream.encode(None))
