"""DALI's graph on the processor, for the codecs that it decodes there; the tests marked `gpu` are for NVDEC."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avctl.media.decode import Media
from avctl.media.engines import EngineError
from avctl.media.engines.dali import BATCH, Dali, has_gpu
from avctl.media.parity import psnr_db

Make = Callable[..., Path]
SIZE = (48, 80)
VP9 = {"video_codec": "libvpx-vp9", "video_options": {"cpu-used": "8", "crf": "12", "b": "0", "g": "12"}}
WANTED = np.arange(0.2, 1.8, 0.07)
needs_cpu = pytest.mark.skipif(has_gpu(), reason="with a GPU, DALI decodes on it")


@pytest.fixture(scope="module")
def dali() -> Dali:
    return Dali()


def opened(path: Path) -> Media:
    media = Media(path)
    for _ in media.scan():
        pass
    return media


def worst_db(frames: np.ndarray, media: Media, wanted: np.ndarray = WANTED) -> float:
    return min(psnr_db(a, b) for a, b in zip(frames, media.read(wanted, frames.shape[1:3])[0], strict=True))


@pytest.mark.parametrize(
    ("name", "codec"), [("a.webm", "libvpx"), ("a.mkv", "libvpx-vp9"), ("a.mov", "mjpeg"), ("a.avi", "mjpeg")]
)
def test_codecs_of_the_processor_are_decoded(footage: Make, dali: Dali, name: str, codec: str) -> None:
    options = {"q": "2"} if codec == "mjpeg" else VP9["video_options"]
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    sound = "libopus" if name == "a.webm" else "aac"
    path = footage(
        name=name, video_codec=codec, video_options=options, pixel_format=pixels, audio_codec=sound, is_moving=True
    )
    with opened(path) as media:
        assert worst_db(dali.read(media, WANTED, SIZE)[0], media) > 30


@needs_cpu
@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_other_codecs_are_refused_by_name(footage: Make, dali: Dali, codec: str) -> None:
    with opened(footage(video_codec=codec, video_options={})) as media, pytest.raises(EngineError) as caught:
        dali.read(media, WANTED, SIZE)
    assert caught.value.reason == "codec"


def test_a_file_that_fails_does_so_alone_and_the_engine_goes_on(footage: Make, dali: Dali) -> None:
    good, bad = opened(footage(is_moving=True, **VP9)), opened(footage(name="b.mp4", is_moving=True, **VP9))
    bad.path.write_bytes(scrambled(bad.path.read_bytes()))
    with good, bad:
        answers = dali.read_many([(good, WANTED, SIZE), (bad, WANTED, SIZE), (good, WANTED[3:7], (32, 32))])
        again = dali.read(good, WANTED, SIZE)
        assert isinstance(answers[1], EngineError) and answers[1].reason == "refused"
        first, last = answers[0], answers[2]
        assert not isinstance(first, EngineError) and not isinstance(last, EngineError)
        assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
        assert last[0].shape == (4, 32, 32, 3) and worst_db(last[0], good, WANTED[3:7]) > 30


def scrambled(data: bytes) -> bytes:
    """Every frame's data is noise; the index of the mp4 is whole."""
    start = data.index(b"mdat") + 4
    end = data.index(b"moov", start) - 4 if b"moov" in data[start:] else len(data)
    return data[:start] + np.random.default_rng(0).integers(0, 256, end - start, np.uint8).tobytes() + data[end:]


def test_more_clips_than_a_batch_holds_come_back_in_order(footage: Make, dali: Dali) -> None:
    with opened(footage(is_moving=True, **VP9)) as media:
        requests = [(media, WANTED[k : k + 1 + k % 3], SIZE) for k in range(BATCH + 5)]
        for (_, wanted, _), answer in zip(requests, dali.read_many(requests), strict=True):
            assert not isinstance(answer, EngineError)
            assert worst_db(answer[0], media, wanted) > 30
            assert np.array_equal(answer[1], media.read(wanted, SIZE)[1])


def test_a_long_request_is_decoded_in_pieces(footage: Make, dali: Dali, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(footage(is_moving=True, **VP9)) as media:
        whole = dali.read(media, WANTED, SIZE)
        monkeypatch.setattr("avctl.media.engines.dali.PIECE_BYTES", 5 * 48 * 64 * 3)
        parts = dali.read(media, WANTED, SIZE)
    assert np.array_equal(whole[0], parts[0]) and np.array_equal(whole[1], parts[1])


GPU_FILES = {
    "h264": {"video_options": {"preset": "veryfast", "bf": "3", "g": "24"}},
    "h264 with open groups": {"video_options": {"bf": "3", "g": "12", "x264-params": "open-gop=1"}},
    "h264 in matroska": {"name": "a.mkv", "video_options": {"bf": "3"}},
    "h264 in a transport stream": {"name": "a.ts", "video_options": {"bf": "3", "g": "12"}},
    "hevc": {"video_codec": "libx265", "video_options": {"preset": "veryfast", "x265-params": "log-level=none"}},
    "vp9": VP9,
}


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="no NVIDIA GPU answers")
@pytest.mark.parametrize("kind", GPU_FILES)
def test_nvdec_gives_the_frames_of_pyav(footage: Make, dali: Dali, kind: str) -> None:
    path = footage(size=(288, 512), is_moving=True, **GPU_FILES[kind])
    with opened(path) as media:
        expected = media.read(WANTED, (144, 256))[0]
        frames = dali.read(media, WANTED, (144, 256))[0]
    likeness = np.array([[psnr_db(a, b) for b in expected] for a in frames])
    assert np.diag(likeness).min() > 30
    assert (likeness.argmax(axis=1) == np.arange(len(WANTED))).all()


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="no NVIDIA GPU answers")
def test_nvdec_goes_on_behind_a_file_that_it_refuses(footage: Make, dali: Dali) -> None:
    good = opened(footage(size=(288, 512), is_moving=True))
    tiny = opened(footage(name="b.mp4", size=(16, 16)))
    with good, tiny:
        answers = dali.read_many([(good, WANTED, SIZE), (tiny, WANTED, SIZE)])
        assert isinstance(answers[1], EngineError)
        assert not isinstance(answers[0], EngineError) and worst_db(answers[0][0], good) > 30
