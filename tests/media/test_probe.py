"""Headers are read, and nothing but the file itself is opened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from avctl.media.probe import MediaError, open_media, probe, tracks

Make = Callable[..., Path]


def test_headers_are_told(footage: Make) -> None:
    path = footage(pixel_format="yuv420p10le", layout="5.1", rate=44_100, fps=30)
    with open_media(path) as container:
        found = probe(container, *tracks(container))
    assert (found.video_codec, found.width, found.height, found.bits) == ("h264", 64, 48, 10)
    assert (found.audio_codec, found.sample_rate, found.channels) == ("aac", 44_100, 6)
    assert found.video_end_s == pytest.approx(2.0)
    assert found.audio_end_s == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_file_that_starts_late_ends_when_it_ends_and_is_no_longer(footage: Make, name: str) -> None:
    path = footage(name=name, seconds=4.0, event_s=2.0)
    late = path.with_stem("late")
    with av.open(str(path)) as source, av.open(str(late), "w") as file:
        streams = {stream.index: file.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.pts is not None and packet.dts is not None:
                packet.pts += round(9 / packet.time_base)
                packet.dts += round(9 / packet.time_base)
                packet.stream = streams[packet.stream.index]
                file.mux(packet)
    with open_media(late) as container:
        found = probe(container, *tracks(container))
    assert found.end_s == pytest.approx(13, abs=0.2)
    assert found.length_s == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_high_dynamic_range_is_refused_by_name(footage: Make, name: str, transfer: str) -> None:
    params = f"transfer={transfer}:colorprim=bt2020:colormatrix=bt2020nc"
    path = footage(name=name, video_options={"preset": "ultrafast", "x264-params": params})
    with open_media(path) as container, pytest.raises(MediaError, match=r"hdr: .* (PQ|HLG)"):
        tracks(container)


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{secret}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{secret}</BaseURL></MPD>',
        "[InternetShortcut]\nURL=file://{secret}\n",
    ],
    ids=["HLS", "concat", "DASH", "shortcut"],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.mpd", "a.ffconcat"])
def test_a_file_that_names_others_opens_none_of_them(footage: Make, tmp_path: Path, text: str, name: str) -> None:
    secret = footage(name="secret.ts")
    (tmp_path / name).write_text(text.format(secret=secret))
    assert str(secret) not in opened_by_probe(tmp_path / name)


def test_the_watch_for_opened_files_sees_them(footage: Make) -> None:
    path = footage()
    assert str(path) in opened_by_probe(path)


def opened_by_probe(path: Path) -> str:
    """Every file descriptor's target while the file is open, or what refused it."""
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom avctl.media.probe import MediaError, open_media\n"
        "try:\n    container = open_media(Path(sys.argv[1]))\n"
        "except MediaError as error:\n    print(error.reason)\nelse:\n"
        "    print([os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if int(n) > 2\n"
        "           and os.path.exists(f'/proc/self/fd/{n}')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    return done.stdout
