"""Fixtures that tests of several layers share: recipes written to a folder and the real command on them, and a model
that trains in seconds with its data set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from ctypes.util import find_library
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from avctl.job import Job
from avctl.schema import (
    Clip,
    Export,
    Haar,
    JointDiT,
    LogMel,
    Optim,
    Preprocess,
    Recipe,
    Request,
    Runtime,
    Sample,
    TrainGenerator,
    WordEncoder,
)

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

    from avctl.models.pretrained import Pretrained

RECIPE = """
from avctl.recipe import replace
from avctl.schema import (Clip, Crawl, Directory, Eval, Export, FrameAutoencoder, Haar, JointDiT, MDCT, Preprocess,
                          Recipe, Runtime, Sample, TrainAutoencoder, TrainGenerator, Trained)

clip = Clip(seconds=1.0, size=(32, 32), fps=8, sample_rate=8_000)
recipe = Recipe(
    name="small",
    clip=clip,
    crawl=Crawl(sources=(Directory(path="videos"),)),
    preprocess=Preprocess(video_codec=Haar(down=4), audio_codec=MDCT()),
    model=JointDiT(width=16, num_dual=1, num_single=1, heads=2),
    train=TrainGenerator(steps=2, batch=1),
    sample=Sample(steps=2),
    eval=Eval(),
    export=Export(),
    runtime=Runtime(device="cpu"),
)
fine = replace(recipe, name="fine", preprocess=Preprocess(video_codec=Haar(down=2), audio_codec=MDCT()))
autoencoder = Recipe(
    name="codec",
    clip=clip,
    crawl=recipe.crawl,
    preprocess=Preprocess(),
    model=FrameAutoencoder(down=4),
    train=TrainAutoencoder(steps=2, batch=2),
)
learned = replace(
    recipe, name="learned", preprocess=Preprocess(video_codec=Trained(recipe=autoencoder), audio_codec=MDCT())
)
"""

ROOT = Path(__file__).parents[1]
NOBODY = 65_534


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("ffmpeg") and not find_library("avutil"):
        pytest.skip("no libraries of FFmpeg on this machine: `apt-get install ffmpeg`")


@pytest.fixture
def no_root(tmp_path: Path) -> Iterator[None]:
    """Root reads everything: where the tests run as root, this one becomes `nobody`, who owns its folder."""
    if os.geteuid():
        yield
        return
    closed = {folder: folder.stat().st_mode for folder in tmp_path.parents if folder.stat().st_mode & 0o011 != 0o011}
    for folder, mode in closed.items():
        folder.chmod(mode | 0o011)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for folder, mode in closed.items():
            folder.chmod(mode)


Completed = subprocess.CompletedProcess[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a folder `videos` that holds two files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.txt").write_text("a")
    (tmp_path / "videos" / "b.txt").write_text("b")
    return tmp_path


@pytest.fixture
def recipe_file(here: Path) -> Path:
    """A recipe of all six stages: `recipe`, and its relatives `pixels`, `autoencoder`, `learned`."""
    (here / "small.py").write_text(RECIPE)
    return Path("small.py")


@pytest.fixture
def avctl(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Completed]:
    """The command line in this process, in `here`."""
    from avctl.cli.main import avctl, exit_code

    def call(*words: str | Path) -> Completed:
        arguments = [str(word) for word in words]
        capsys.readouterr()
        code = exit_code(lambda: avctl.main(arguments, "avctl", standalone_mode=False), "--json" in arguments)
        captured = capsys.readouterr()
        return Completed(arguments, code, captured.out, captured.err)

    return call


@pytest.fixture
def process(here: Path) -> Callable[..., Completed]:
    """The real command in a process of its own, in `here`."""

    def call(*words: str | Path, env: Mapping[str, str] | None = None) -> Completed:
        command = [sys.executable, "-m", "avctl", *map(str, words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)

    return call


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Cluster]:
    """A real Ray cluster with two CPUs on this machine, whose workers find avctl and the tests.

    `address` is that of its head; `add_node` adds a machine that a test may kill."""
    from ray.cluster_utils import Cluster

    before = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)  # short, because a socket's path has at most 107 bytes
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
        (Path(folder) / "ray").mkdir()
        head = {"num_cpus": 2, "object_store_memory": 100 * 2**20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        signal.signal(signal.SIGTERM, before)
        yield cluster
        cluster.shutdown()


@dataclass
class Recorder:
    """A reporter that keeps what it is told."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # notes and warnings
    on_row: Callable[[dict[str, Any]], object] = lambda row: None

    def progress(self, name: str, done: int, total: int | None = None, **figures: Any) -> None:
        assert total is None or done <= total

    def log(self, **metrics: Any) -> None:
        self.rows.append(metrics)
        self.on_row(metrics)

    def rewind(self, step: int) -> None:
        self.rows = [row for row in self.rows if row.get("step", 0) <= step]

    def note(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """A stage at work in the folder `out`, with a `Recorder` as its reporter."""

    def make(recipe: Recipe, out: str = "out", **inputs: Path) -> Job:
        (tmp_path / out).mkdir(exist_ok=True)
        return Job(recipe, inputs, tmp_path / out, Recorder(), Event())

    return make


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """A generator that trains in seconds: a second of 8 frames of 16x16 pixels, and 8 kHz stereo."""
    words = WordEncoder(vocabulary=256, max_tokens=6)
    return Recipe(
        name="tiny",
        clip=Clip(seconds=1.0, size=(16, 16), fps=8, sample_rate=8_000),
        preprocess=Preprocess(video_codec=Haar(down=8), audio_codec=LogMel(hop=400, window=800, mels=8)),
        model=JointDiT(width=32, num_dual=1, num_single=1, heads=2, video_patch=(2, 2, 2), audio_patch=2, text=words),
        train=TrainGenerator(steps=6, batch=4, optim=Optim(lr=1e-2), dtype="float32", save_every=2),
        sample=Sample(requests=(Request(count=3),), steps=2, batch=2),
        export=Export(),
        runtime=Runtime(device="cpu", threads=1, log_every=1),
    )


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory, tiny: Recipe) -> Path:
    """A preprocess artifact of `tiny` with 12 clips, 9 of them in `train` and 3, one of each colour, in `test`."""
    return write_clips(tmp_path_factory.mktemp("preprocess"), tiny)


@pytest.fixture(scope="session")
def tiny_train(tmp_path_factory: pytest.TempPathFactory, tiny: Recipe, tiny_store: Path) -> Path:
    """The train artifact of `tiny`."""
    from avctl.stages import train

    out = tmp_path_factory.mktemp("train")
    train.run(Job(tiny, {"preprocess": tiny_store}, out, Recorder(), Event()))
    return out


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory: pytest.TempPathFactory, tiny: Recipe, tiny_train: Path) -> Path:
    """The export artifact of `tiny`: made once, because the ONNX exporter needs a dozen seconds for any model."""
    from avctl.stages import export

    out = tmp_path_factory.mktemp("export")
    export.run(Job(tiny, {"train": tiny_train}, out, Recorder(), Event()))
    return out


@pytest.fixture
def clips() -> Callable[[Path, Recipe], Path]:
    """Writes the same clips as a preprocess artifact of another recipe."""
    return write_clips


@pytest.fixture
def tiny_model(tiny: Recipe) -> Pretrained:
    """The generator of `tiny` in eval mode, with random weights where training starts from zeros."""
    import torch

    from avctl.models import pretrained

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = pretrained.untrained(tiny, None)
        for parameter in model.generator.eval().requires_grad_(False).parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def write_clips(artifact: Path, recipe: Recipe, count: int = 12) -> Path:
    """A preprocess artifact of moving squares in three colours, each with a tone of its own, in all buckets in turn."""
    from avctl.codecs.encode import Encoder
    from avctl.store.index import place_columns, write_index
    from avctl.store.layout import layout
    from avctl.store.writer import Writer

    assert recipe.preprocess
    encoder = Encoder(recipe.preprocess, recipe.clip, None) if recipe.preprocess.video_codec else None
    plan = layout(recipe.clip, encoder.video_shapes, encoder.audio_shape) if encoder else layout(recipe.clip)
    buckets = [recipe.clip.buckets[(i + i // 4) % len(recipe.clip.buckets)] for i in range(count)]
    frames, audio = zip(*(_scene(i, bucket) for i, bucket in enumerate(buckets)), strict=True)
    data = {"video": frames, "audio": audio}
    if encoder:
        data["video_latents"], data["audio_latents"] = zip(*encoder(frames, audio), strict=True)
    writer = Writer(artifact / "clips.zarr")
    rows = []
    for i in range(count):
        places = {kind: writer.append(plan.series(kind, buckets[i].size), clips[i]) for kind, clips in data.items()}
        split = "train" if i % 4 else "test"
        row = {"clip_id": f"{i:03d}", "source_sha256": f"{i}", "start_s": 0.0, "split": split, "key": "k", "skew": 0.0}
        row |= {"caption": f"a {COLOURS[i % 3][0]} square", "truth": '{"events_s": [0.5]}'}
        rows.append(row | place_columns(places))
    writer.close()
    write_index(artifact / "index.sqlite", [], rows, {})
    return artifact


COLOURS = (("red", (220, 40, 40)), ("green", (40, 220, 40)), ("blue", (40, 40, 220)))


def _scene(index: int, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, H, W, 3) uint8 and samples (samples, channels) int16."""
    frames = np.full((clip.frames, *clip.size, 3), 20, np.uint8)
    for t, frame in enumerate(frames):
        left = (t + index) % (clip.size[1] - 8)
        frame[4:12, left : left + 8] = COLOURS[index % 3][1]
    seconds = np.arange(clip.samples) / clip.sample_rate
    tone = 0.3 * np.sin(2 * np.pi * 300 * (1 + index % 3) * seconds) * (seconds > 0.5)
    return frames, (tone[:, None] * (1.0, 0.5)[: clip.channels] * 32_767).astype(np.int16)
